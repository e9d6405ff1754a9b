// The user's notifications, the same on all devices. The client gives no position when it connects: the
// answer is then all that the user has not acknowledged, on whatever device, which is what "unread" means.
import { emit, type Frame, type Notification, type State } from './machine_types';

const kKept = 100;  // As many as the server keeps.

export function notified(s: State, f: Frame): void {
    let news: Notification[] = [];
    if (f.type === 'notification') {
        const { type: _, ...note } = f;
        news = [note as any];
        s._notes = [...s._notes, ...news].slice(-kKept);
    } else if (f.type === 'notification.acked') {
        acknowledge(s, f['offset']);
        return;
    } else {
        const list = f['messages'] as Notification[];
        const known = new Set(s._notes.map((note) => note.id));
        const again = s._epoch === f['epoch'];
        // What an epoch begins with was there before this client looked.
        if (again) { news = list.filter((note) => !known.has(note.id)); }
        s._acked = list.length ? list[0]!.offset - 1 : f['offset'];
        s._notes = [...(again ? s._notes.filter((note) => note.offset <= s._acked) : []), ...list].slice(-kKept);
        s._epoch = f['epoch'];
    }
    for (const note of news) { emit(s, '', 'notification', note); }
    emit(s, '', 'notifications');
}

export function acknowledge(s: State, offset: number): void {
    if (offset <= s._acked) { return; }
    s._acked = offset;
    emit(s, '', 'notifications');
}

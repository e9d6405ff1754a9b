// The user's notifications, the same on all devices. The client gives no position when it connects: the
// answer is then all that the user has not acknowledged, on whatever device, which is what "unread" means.
import { emit, send, type Frame, type Notification, type State } from './machine_types';

const kKept = 100;  // As many as the server keeps.

export function notified(s: State, { type, ...f }: Frame): void {
    if (type === 'notification.acked') {
        acknowledge(s, f['offset']);
        return;
    }
    let fresh: Notification[] = [f as any];
    let kept = s._notes;
    if (type !== 'notification') {
        fresh = f['messages'];
        const acked = (fresh[0]?.offset ?? f['offset'] + 1) - 1;
        const mine = s._acked;
        s._acked = acked;
        // What an epoch begins with was there before this client looked.
        if (s._epoch === f['epoch']) {
            // The mark that was set while offline is the last value, and is told now.
            if (mine > acked) {
                s._acked = mine;
                send(s, s._link, { type: 'notification.ack', offset: mine });
            }
            for (const note of fresh) { if (!kept.some((one) => one.id === note.id)) { emit(s, '', 'notification', note); } }
            kept = kept.filter((note) => note.offset <= acked);
        } else {
            kept = [];
        }
        s._epoch = f['epoch'];
    } else {
        emit(s, '', 'notification', f);
    }
    s._notes = [...kept, ...fresh].slice(-kKept);
    emit(s, '', 'notifications');
}

export function acknowledge(s: State, offset: number): void {
    if (offset <= s._acked) { return; }
    s._acked = offset;
    emit(s, '', 'notifications');
}

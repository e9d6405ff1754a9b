// The user's notifications, the same on all devices. The client gives no position when it connects: the
// answer is then all that the user has not acknowledged, on whatever device, which is what "unread" means.
import { emit, send, type Frame, type State } from './machine_types';

const enum Ms { Calm = 20_000 } // Within the longest backoff all are back.
const enum Max { Kept = 100 }   // As many as the server keeps.

export function notified(s: State, { type, ...f }: Frame): void {
    if (type === 'notification.acked') {
        acknowledge(s, f['offset']);
        return;
    }
    const { messages: fresh = [f] as any, epoch = s._epoch } = f;
    let kept = s._notes;
    const known = s._epoch === epoch;
    if (known) {
        for (const note of fresh) { if (!kept.some((one) => one.id === note.id)) { emit(s, '', 'notification', note); } }
    } else {
        // What an epoch begins with was there before this client looked. Where another was before, the gateway
        // lost its memory, and who is present with it.
        if (s._epoch) { s._calmAt = s._now + Ms.Calm; }
        kept = [];
    }
    if (f['messages']) {
        const acked = (fresh[0]?.offset ?? f['offset'] + 1) - 1;
        kept = kept.filter((note) => note.offset <= acked);
        // The mark that was set while offline is the last value, and is told now.
        if (known && s._acked > acked) { send(s, s._link, { type: 'notification.ack', offset: s._acked }); } else { s._acked = acked; }
    }
    s._epoch = epoch;
    s._notes = [...kept, ...fresh].slice(-Max.Kept);
    emit(s, '', 'notifications');
}

export function acknowledge(s: State, offset: number): void {
    if (offset <= s._acked) { return; }
    s._acked = offset;
    emit(s, '', 'notifications');
}

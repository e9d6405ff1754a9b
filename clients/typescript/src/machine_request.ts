// What was asked of the server and waits for its reply: publishes, reads, acknowledgements, subscriptions.
// A publish goes out again on the next link with the same key, so it is done once however often it is sent.
import { refused, subscribed } from './machine_channel';
import { acknowledge } from './machine_notifications';
import { backoff, Do, edit, editRequest, fault, requests, send, type Fault, type Frame, type Handle, type State } from './machine_types';

const enum Ms { Read = 10_000 }

export function request(s: State, handle: Handle, f: Frame): void {
    const publish = f.type === 'publish';
    if ([...s._requests.values()].filter((r) => r._handle).length >= s._settings._queue) {
        settle(s, handle, fault('queue_full', 'too many wait', true), true);
        return;
    }
    if (f.type === 'notification.ack') { acknowledge(s, f['offset']); }
    if (publish) {
        // The server ends the typing of who sends.
        const ch = edit(s, f.channel!);
        if (ch) { ch._typedAt = ch._keyAt = -Infinity; }
    }
    add(s, handle, f, s._now + (publish ? s._settings._publishTimeout : Ms.Read));
}

// Gives the id; a subscription has no handle and no end.
export function add(s: State, handle: Handle, f: Frame, deadline: number): number {
    const id = ++s._ids;
    requests(s).set(id, { _handle: handle, _frame: { ...f, id }, _deadline: deadline, _link: 0, _retryAt: 0, _tries: 0 });
    return id;
}

// What is due goes out, subscriptions first, so that own messages are seen; what waited too long is given up.
export function sendAll(s: State): void {
    for (const [id, r] of [...s._requests].sort(([, a], [, b]) => +!b._handle - +!a._handle)) {
        if (r._deadline <= s._now) {
            requests(s).delete(id);
            settle(s, r._handle, fault('timeout', 'no answer', true), true);
        } else if (s._link && !r._link && r._retryAt <= s._now) {
            editRequest(s, id, { _link: s._link });
            send(s, s._link, r._frame);
        }
    }
}

// Whether the frame was the reply to something.
export function reply(s: State, f: Frame): boolean {
    const id = f.id as number;
    const r = s._requests.get(id);
    if (!r) { return false; }
    const error = f.type === 'error';
    if (error && f['retryable']) {
        editRequest(s, id, { _link: 0, _retryAt: backoff(s, r._tries), _tries: r._tries + 1 });
        return true;
    }
    requests(s).delete(id);
    if (r._handle) {
        settle(s, r._handle, f, error);
    } else if (error) {
        refused(s, r._frame.channel!, id, f as unknown as Fault);
    } else {
        subscribed(s, r._link, f);
    }
    return true;
}

// The link is gone: what it carried waits for the next one.
export function requeue(s: State, link: number): void {
    for (const [id, r] of s._requests) {
        if (r._link === link) { editRequest(s, id, { _link: 0 }); }
    }
}

// What the link carries is refused.
export function abandon(s: State, link: number, error: Fault): void {
    for (const [id, r] of s._requests) {
        if (r._link === link) { reply(s, { ...error as any, type: 'error', id }); }
    }
}

export function rejectAll(s: State, error: Fault): void {
    for (const r of s._requests.values()) { settle(s, r._handle, error, true); }
    s._requests = new Map();
}

function settle(s: State, handle: Handle, result: Frame | Fault, failed: boolean): void {
    s._out.push([Do.Settle, handle, result, failed]);
}

export function nextDue(s: State): number {
    let due = Infinity;
    for (const r of s._requests.values()) {
        due = Math.min(due, r._deadline, !r._link && s._link ? r._retryAt : Infinity);
    }
    return due;
}

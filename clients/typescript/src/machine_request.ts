// What was asked of the server and waits for its reply: publishes, reads, acknowledgements, subscriptions.
// A publish goes out again on the next link with the same key, so it is done once however often it is sent.
import { refused, subscribed } from './machine_channel';
import { acknowledge } from './machine_notifications';
import { backoff, channels, Do, editRequest, requests, send, type Fault, type Frame, type State } from './machine_types';

const kReadMs = 10_000;

export function request(s: State, handle: number, f: Frame): void {
    const publish = f.type === 'publish';
    if ([...s._requests.values()].filter((r) => r._handle).length >= s._settings._queue) {
        settle(s, handle, undefined, { code: 'queue_full', message: 'queueSize requests wait already', retryable: true });
        return;
    }
    if (f.type === 'notification.ack') { acknowledge(s, f['offset']); }
    if (publish) {
        // The server ends the typing of who sends.
        const channel = s._channels.get(f.channel!);
        if (channel) { channels(s).set(f.channel!, { ...channel, _typedAt: -Infinity, _keyAt: -Infinity }); }
    }
    add(s, handle, f, s._now + (publish ? s._settings._publishTimeout : kReadMs));
    sendAll(s);
}

// Gives the id; a subscription is sent at once and has no handle and no end.
export function add(s: State, handle: number, f: Frame, deadline: number): number {
    const id = ++s._ids;
    requests(s).set(id, { _handle: handle, _frame: { ...f, id }, _deadline: deadline, _link: 0, _retryAt: 0, _tries: 0 });
    return id;
}

export function sendAll(s: State): void {
    const link = s._link;
    if (!link) { return; }
    for (const [id, r] of s._requests) {
        if (!r._link && r._retryAt <= s._now) {
            editRequest(s, id, { _link: link });
            send(s, link, r._frame);
        }
    }
}

// Whether the frame was the reply to something.
export function reply(s: State, f: Frame): boolean {
    const id = f.id as number;
    const r = s._requests.get(id);
    if (!r) { return false; }
    const error = f.type === 'error';
    if (r._handle && error && f['retryable']) {
        editRequest(s, id, { _link: 0, _retryAt: backoff(s, r._tries), _tries: r._tries + 1 });
        return true;
    }
    requests(s).delete(id);
    if (r._handle) {
        settle(s, r._handle, error ? undefined : f, error ? f as unknown as Fault : undefined);
    } else if (error) {
        refused(s, r._frame.channel!, id, f as unknown as Fault);
    } else {
        subscribed(s, r._link, f);
    }
    return true;
}

export function forget(s: State, id: number): void { requests(s).delete(id); }

// The link is gone: what it carried waits for the next one. Subscriptions are stated anew then.
export function requeue(s: State, link: number): void {
    for (const [id, r] of s._requests) {
        if (r._link !== link) { continue; }
        if (r._handle) { editRequest(s, id, { _link: 0 }); } else { forget(s, id); }
    }
}

export function expire(s: State): void {
    for (const [id, r] of s._requests) {
        if (r._deadline <= s._now) {
            forget(s, id);
            settle(s, r._handle, undefined, { code: 'timeout', message: `no answer to ${r._frame.type} in time`, retryable: true });
        }
    }
}

export function rejectAll(s: State, error: Fault): void {
    for (const r of s._requests.values()) { settle(s, r._handle, undefined, error); }
    s._requests = new Map();
}

function settle(s: State, handle: number, value: Frame | undefined, fault: Fault | undefined): void {
    s._out.push([Do.Settle, handle, value, fault]);
}

export function nextDue(s: State): number {
    let due = Infinity;
    for (const r of s._requests.values()) {
        due = Math.min(due, r._deadline, !r._link && s._link ? r._retryAt : Infinity);
    }
    return due;
}

// A channel: how it should be subscribed, how it is, where its messages stand, who is present and who types.
// What is wanted is only noted; `sync` compares it with what was asked for, so coming and going within one
// moment costs no frame.
import { add, forget, sendAll } from './machine_request';
import { backoff, channels, edit, emit, Ev, send, type Channel, type Fault, type Frame, type Member, type Message, type State, type Wish } from './machine_types';

const kTypingEveryMs = 2_500;   // The server forgets a user 5 s after the last `typing`.
const kTypingMs = 5_000;
const kLatestMax = 1_000;       // As many values as the server keeps for a channel.

function blank(): Channel {
    return {
        _refs: 0, _enters: 0, _data: undefined, _sent: undefined, _present: false, _asked: 0, _request: 0, _on: 0, _ever: false,
        _retryAt: 0, _tries: 0, _status: 'idle', _error: undefined, _options: {}, _position: undefined,
        _latest: new Map(), _members: [], _others: [], _count: 0, _typing: [], _typedAt: -Infinity, _keyAt: -Infinity,
    };
}

// Says whether something is wanted that takes a connection.
export function touch(s: State, { _t: what, _channel: name, _by: by, _data: data, _options: options }: Wish): boolean {
    const typed = what === Ev.Key;
    const more = by > 0 && !typed;
    if (more && !s._channels.has(name)) { channels(s).set(name, blank()); }
    const ch = edit(s, name);
    if (!ch) { return false; }
    if (typed) { key(s, name, ch, by > 0); }
    if (more && options) {
        const { since, ...rest } = options;
        ch._options = rest;
        if (!ch._ever) { ch._position ??= since; }
    }
    if (what === Ev.Retain) { ch._refs = Math.max(0, ch._refs + by); }
    if (what === Ev.Enter) {
        ch._enters = Math.max(0, ch._enters + by);
        if (by >= 0) { ch._data = data; }
    }
    if (what === Ev.Leave || what === Ev.Drop) { ch._enters = 0; }
    if (what === Ev.Drop) { ch._refs = 0; }
    // Asking again is how a refused channel is tried again.
    if (more && ch._status === 'failed') { ch._status = 'idle'; ch._asked = 0; }
    return more;
}

export function sync(s: State): void {
    const link = s._link;
    for (const [name, was] of s._channels) {
        const wanted = was._refs > 0 || was._enters > 0;
        if (wanted && was._status === 'idle') { mark(s, name, edit(s, name)!, 'joining'); }
        if (!wanted) {
            if (link && was._asked === link && was._status !== 'failed') { send(s, link, { type: 'unsubscribe', channel: name }); }
            forgetChannel(s, name);
        } else if (link && was._status !== 'failed') {
            const present = was._enters > 0;
            if (was._asked !== link) {
                if (was._retryAt <= s._now) { ask(s, name, false); }
            } else if (was._present !== present) {
                // There is no other way in or out than to subscribe anew; positions make it gapless.
                ask(s, name, true);
            } else if (present && was._on === link && !same(was._data, was._sent)) {
                edit(s, name)!._sent = was._data;
                send(s, link, { type: 'presence.update', channel: name, data: was._data });
            }
        }
    }
}

function ask(s: State, name: string, again: boolean): void {
    const link = s._link;
    const ch = edit(s, name)!;
    if (again) { send(s, link, { type: 'unsubscribe', channel: name }); }
    if (ch._request) { forget(s, ch._request); }
    ch._asked = link;
    ch._present = ch._enters > 0;
    ch._sent = ch._data;
    ch._request = add(s, 0, {
        type: 'subscribe', channel: name, ...ch._options,
        presence: ch._present ? ch._data ?? true : undefined, recover: ch._position,
    }, Infinity);
    sendAll(s);
}

function forgetChannel(s: State, name: string): void {
    const ch = s._channels.get(name)!;
    if (ch._request) { forget(s, ch._request); }
    channels(s).delete(name);
    changed(s, name, { ...ch }, [], [], ch._members);
    if (ch._typing.length) { emit(s, name, 'typing', []); }
    emit(s, name, 'state', 'idle');
}

function mark(s: State, name: string, ch: Channel, status: Channel['_status'], error?: Fault): void {
    if (ch._status === status) { return; }
    ch._status = status;
    ch._error = error;
    emit(s, name, 'state', status);
    if (error) { emit(s, name, 'error', error); }
}

export function lostChannels(s: State, link: number): void {
    for (const [name, was] of s._channels) {
        if (was._on !== link && was._asked !== link) { continue; }
        const ch = edit(s, name)!;
        if (ch._asked === link) { ch._asked = ch._request = 0; }
        if (ch._on === link) {
            ch._on = 0;
            // The list stays as it was; who types is old news.
            typing(s, name, ch, []);
            if (ch._status === 'live') { mark(s, name, ch, 'joining'); }
        }
    }
}

export function refused(s: State, name: string, id: number, error: Fault): void {
    const ch = edit(s, name);
    if (ch?._request !== id) { return; }
    ch._request = 0;
    if (error.code === 'already_subscribed') {
        // The server did it by itself, for the token's `channels`; ours says what we have already.
        ask(s, name, true);
    } else if (error.retryable) {
        ch._asked = 0;
        ch._retryAt = backoff(s, ch._tries++);
    } else {
        ch._on = 0;
        mark(s, name, ch, 'failed', error);
    }
}

export function subscribed(s: State, link: number, f: Frame): void {
    const name = f.channel!;
    const ch = edit(s, name);
    if (!ch || ch._request !== f.id) { return; }
    const from = ch._position;
    const to = f['position'] as typeof from;
    const list = f['messages'] as Message[] | undefined;
    const reason = f['recovered'] === false ? f['reason'] : !to && !list && ch._ever ? 'unrecorded' : undefined;
    if (reason) { emit(s, name, 'gap', { channel: name, reason, from, to }); }
    if (f['recovered'] === false) { ch._position = undefined; }
    ch._on = link;
    ch._request = ch._tries = ch._retryAt = 0;
    ch._ever = true;
    for (const message of list ?? []) { received(s, name, ch, message); }
    // What came while this was on its way may be newer.
    if (!(to && ch._position && to.offset < ch._position.offset)) { ch._position = to; }
    snapshot(s, name, ch, f['presence'] ?? { count: 0, users: [] });
    typing(s, name, ch, f['typing'] ?? []);
    mark(s, name, ch, 'live');
    if (s._now - ch._keyAt < kTypingMs) { ch._typedAt = -Infinity; key(s, name, ch, true, ch._keyAt); }
    // What was wished for while this was on its way.
    sync(s);
}

export function channelFrame(s: State, link: number, f: Frame, name: string): void {
    if (s._channels.get(name)?._on !== link) { return; }
    const ch = edit(s, name)!;
    const users = ch._typing.filter((user) => user !== f['userId']);
    switch (f.type) {
        case 'message': {
            const { type: _, channel: __, ...message } = f;
            received(s, name, ch, message as any);
            break;
        }
        case 'presence.join': changed(s, name, ch, [f], [], []); break;
        case 'presence.update': changed(s, name, ch, [], [f], []); break;
        case 'presence.leave': changed(s, name, ch, [], [], [f]); break;
        case 'presence.diff': changed(s, name, ch, f['joins'], f['updates'], f['leaves'], f['count']); break;
        // A count where there was a list: the list is no longer kept.
        case 'presence.count':
            ch._members = ch._others = [];
            changed(s, name, ch, [], [], [], f['count']);
            break;
        case 'presence': snapshot(s, name, ch, f as any); break;
        case 'typing.start': typing(s, name, ch, [...users, f['userId']]); break;
        case 'typing.stop': typing(s, name, ch, users); break;
        case 'unsubscribed':
            ch._on = ch._asked = ch._request = 0;
            typing(s, name, ch, []);
            if (f['code'] === 'unrecoverable') {
                mark(s, name, ch, 'joining');
                sync(s);
            } else {
                changed(s, name, ch, [], [], ch._members);
                mark(s, name, ch, 'failed', { code: f['code'], message: f['reason'] ?? 'the server ended the subscription', retryable: false, channel: name });
            }
    }
}

function received(s: State, name: string, ch: Channel, m: Message & { skipped?: number }): void {
    const from = ch._position;
    if (from && m.offset) {
        if (m.offset <= from.offset) { return; }
        ch._position = { epoch: from.epoch, offset: m.offset, id: m.id };
        if (m.offset > from.offset + 1) { emit(s, name, 'gap', { channel: name, reason: m.skipped ? 'slow' : 'gap', from, to: ch._position }); }
    } else if (m.id) {
        if (ch._latest.get(m.conflateKey ?? '')?.id === m.id) { return; }
    }
    // Left out by `echo: false`: only the position goes on.
    if (!('data' in m)) { return; }
    const latest = new Map(ch._latest);
    latest.delete(m.conflateKey ?? '');
    latest.set(m.conflateKey ?? '', m);
    if (latest.size > kLatestMax) { latest.delete(latest.keys().next().value!); }
    ch._latest = latest;
    emit(s, name, 'message', m);
}

const member = ({ userId, connectedAt, data }: any): Member => ({ userId, connectedAt, data });

function snapshot(s: State, name: string, ch: Channel, presence: { count: number; users?: Member[] }): void {
    const users = presence.users ?? [];
    const had = new Map(ch._members.map((one) => [one.userId, one]));
    const have = new Set(users.map((one) => one.userId));
    changed(s, name, ch, users.filter((one) => !had.has(one.userId)),
            users.filter((one) => had.has(one.userId) && !same(one.data, had.get(one.userId)!.data)),
            ch._members.filter((one) => !have.has(one.userId)), presence.count);
}

function changed(s: State, name: string, ch: Channel, joins: readonly any[], updates: readonly any[], leaves: readonly any[], count?: number): void {
    const map = new Map(ch._members.map((one) => [one.userId, one]));
    const before = ch._count;
    const joined = joins.map(member);
    const left: Member[] = [];
    const updated: Member[] = [];
    for (const one of joined) { map.set(one.userId, one); }
    for (const { userId, data } of updates) {
        const old = map.get(userId);
        if (old) { map.set(userId, { ...old, data }); updated.push(map.get(userId)!); }
    }
    for (const { userId } of leaves) {
        const old = map.get(userId);
        if (old) { map.delete(userId); left.push(old); }
    }
    ch._count = count ?? map.size;
    const some = joined.length + updated.length + left.length;
    if (some) {
        ch._members = [...map.values()];
        ch._others = ch._members.filter((one) => one.userId !== s._view.userId);
    }
    if (some || ch._count !== before) { emit(s, name, 'presence', { joined, updated, left }); }
}

function typing(s: State, name: string, ch: Channel, users: readonly string[]): void {
    if (same(users, ch._typing)) { return; }
    ch._typing = users;
    emit(s, name, 'typing', users);
}

// Keys are told at once and then as often as keeps the server from forgetting; while away the last one counts.
function key(s: State, name: string, ch: Channel, active: boolean, at = s._now): void {
    const link = s._link;
    ch._keyAt = active ? at : -Infinity;
    if (!link || ch._on !== link) { return; }
    const told = s._now - ch._typedAt;
    if (active ? told < kTypingEveryMs : told > kTypingMs) { return; }
    ch._typedAt = active ? s._now : -Infinity;
    send(s, link, active ? { type: 'typing', channel: name } : { type: 'typing', channel: name, active });
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

export function nextRetry(s: State): number {
    let due = Infinity;
    if (s._link) {
        for (const ch of s._channels.values()) {
            if (ch._retryAt && !ch._asked && ch._status !== 'failed') { due = Math.min(due, ch._retryAt); }
        }
    }
    return due;
}

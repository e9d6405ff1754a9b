// A channel: how it should be subscribed, how it is, where its messages stand, who is present and who types.
// What is wanted is only noted; `sync` compares it with what was asked for, so coming and going within one
// moment costs no frame.
import { add } from './machine_request';
import { channels, edit, emit, Ev, fault, requests, send, type Channel, type Fault, type Frame, type Member, type Message, type State, type Wish } from './machine_types';

const enum Ms { Repeat = 2_500, Typing = 5_000 }    // The server forgets who types 5 s after the last `typing`.
const enum Max { Latest = 1_000 }                   // As many values as the server keeps for a channel.

// What a channel is like that nobody has asked for.
export function blank(name: string): Channel {
    return {
        _name: name, _refs: 0, _enters: 0, _present: false, _asked: 0, _request: 0, _on: 0,
        _ever: false, _status: 'idle', _options: {}, _latest: new Map(), _people: new Map(),
        _members: [], _others: [], _count: 0, _known: 0, _typing: [], _typedAt: -Infinity, _keyAt: -Infinity,
    };
}

// Says whether something is wanted that takes a connection.
export function touch(s: State, { _t: what, _channel: name, _by: by, _data: data, _options: options }: Wish): boolean {
    const more = what !== Ev.Key && by > 0;
    if (more && !s._channels.has(name)) { channels(s).set(name, blank(name)); }
    const ch = edit(s, name);
    if (!ch) { return false; }
    if (what === Ev.Key) { key(s, ch, by > 0); }
    if (what === Ev.Retain) { ch._refs = Math.max(0, ch._refs + by); }
    if (what === Ev.Enter) {
        ch._enters = Math.max(0, ch._enters + by);
        if (by >= 0) { ch._data = data; }
    }
    if (more) {
        if (options) {
            const { since, ...rest } = options;
            ch._options = rest;
            if (!ch._ever) { ch._position ??= since; }
        }
        // Asking again is how a refused channel is tried again.
        if (ch._status === 'failed') { ch._status = 'idle'; }
    }
    return more;
}

export function sync(s: State): void {
    const link = s._link;
    for (const name of s._channels.keys()) {
        const ch = edit(s, name)!;
        const present = ch._enters > 0;
        if (!present && !ch._refs) {
            if (link && ch._asked === link) { send(s, link, { type: 'unsubscribe', channel: name }); }
            requests(s).delete(ch._request);
            channels(s).delete(name);
            emit(s, name, 'state', 'idle');
            continue;
        }
        if (ch._status === 'idle') { mark(s, ch, 'joining'); }
        if (!link || ch._status === 'failed') { continue; }
        // There is no other way in or out of presence than to subscribe anew; positions make it gapless.
        if (ch._asked !== link || ch._present !== present) {
            ask(s, ch);
        } else if (present && ch._on === link && !same(ch._data, ch._sent)) {
            ch._sent = ch._data;
            send(s, link, { type: 'presence.update', channel: name, data: ch._data });
        }
    }
}

function ask(s: State, ch: Channel): void {
    const channel = ch._name;
    if (ch._asked === s._link) { send(s, s._link, { type: 'unsubscribe', channel }); }
    requests(s).delete(ch._request);
    ch._asked = s._link;
    ch._present = ch._enters > 0;
    ch._sent = ch._data;
    ch._request = add(s, undefined, {
        type: 'subscribe', channel, ...ch._options, presence: ch._present ? ch._data ?? true : undefined, recover: ch._position,
    }, Infinity);
}

function mark(s: State, ch: Channel, status: Channel['_status'], error?: Fault): void {
    if (ch._status === status) { return; }
    ch._status = status;
    ch._error = error;
    emit(s, ch._name, 'state', status);
    if (error) { emit(s, ch._name, 'error', error); }
}

export function lostChannels(s: State, link: number): void {
    for (const name of s._channels.keys()) {
        const ch = edit(s, name)!;
        if (ch._asked === link) {
            // It is stated anew on the next link, from where it stands then.
            requests(s).delete(ch._request);
            ch._asked = ch._request = 0;
        }
        if (ch._on === link) {
            ch._on = 0;
            // The list stays as it was; who types is old news.
            typing(s, ch, []);
            if (ch._status === 'live') { mark(s, ch, 'joining'); }
        }
    }
}

export function refused(s: State, name: string, id: number, error: Fault): void {
    const ch = edit(s, name);
    if (ch?._request !== id) { return; }
    if (error.code === 'already_subscribed') {
        // The server did it by itself, for the token's `channels`; ours says what we have already.
        ask(s, ch);
    } else {
        ch._on = ch._request = ch._asked = 0;
        mark(s, ch, 'failed', error);
    }
}

export function subscribed(s: State, link: number, f: Frame): void {
    const ch = edit(s, f.channel!)!;
    if (ch?._request !== f.id) { return; }
    const from = ch._position;
    const { position: to, messages: list, recovered, presence = {}, typing: users = [] } = f as Frame & { position: typeof from; messages: Message[] };
    if (recovered === false || (!to && !list && ch._ever)) {
        gap(s, ch, f['reason'] ?? 'unrecorded', from, to);
        ch._position = undefined;
    }
    ch._on = link;
    ch._request = 0;
    ch._ever = true;
    list?.forEach((message) => received(s, ch, message));
    // What came while this was on its way may be newer.
    if (!(to && ch._position && to.offset < ch._position.offset)) { ch._position = to; }
    snapshot(s, ch, presence);
    typing(s, ch, users);
    mark(s, ch, 'live');
    if (s._now - ch._keyAt < Ms.Typing) { ch._typedAt = -Infinity; key(s, ch, true, ch._keyAt); }
    // What was wished for while this was on its way.
    sync(s);
}

export function channelFrame(s: State, link: number, f: Frame): void {
    const ch = edit(s, f.channel!)!;
    if (ch?._on !== link) { return; }
    const user = f['userId'];
    const typers = ch._typing.filter((one) => one !== user);
    switch (f.type) {
        case 'message': {
            const { type: _, channel: __, ...message } = f;
            received(s, ch, message as any);
            break;
        }
        case 'presence.count':
        case 'presence':
            // Where there was a list, it is no longer kept.
            if (!f['users']) { ch._members = []; }
            snapshot(s, ch, f);
            break;
        case 'typing.start': typing(s, ch, [...typers, user]); break;
        case 'typing.stop': typing(s, ch, typers); break;
        case 'unsubscribed':
            // Where it is being asked for already, the answer to that counts.
            if (ch._request) { break; }
            ch._on = ch._asked = 0;
            typing(s, ch, []);
            if (f['code'] === 'unrecoverable') {
                mark(s, ch, 'joining');
                sync(s);
            } else {
                snapshot(s, ch, {});
                mark(s, ch, 'failed', fault(f['code'], f['reason'] ?? 'ended', false, ch._name));
            }
            break;
        default:
            // One change in its own form, or a diff of several.
            if (f.type.startsWith('presence.')) {
                const { joins = [], updates = [], leaves = [], count } = { [f.type.slice(9) + 's']: [f], ...f } as Frame;
                const people = new Map(ch._people);
                for (const one of [...joins, ...updates]) { people.set(one.userId, member({ ...people.get(one.userId), ...one })); }
                for (const { userId } of leaves) { people.delete(userId); }
                changed(s, ch, people, count);
            }
    }
}

function gap(s: State, ch: Channel, reason: string, from: unknown, to: unknown): void {
    emit(s, ch._name, 'gap', { channel: ch._name, reason, from, to });
}

function received(s: State, ch: Channel, m: Message & { skipped?: number }): void {
    const from = ch._position;
    const value = m.conflateKey ?? '';
    if (from && m.offset) {
        if (m.offset <= from.offset) { return; }
        ch._position = { epoch: from.epoch, offset: m.offset, id: m.id };
        if (m.offset > from.offset + 1) { gap(s, ch, m.skipped ? 'slow' : 'gap', from, ch._position); }
    } else if (m.id && ch._latest.get(value)?.id === m.id) {
        return;
    }
    // Left out by `echo: false`: only the position goes on.
    if (m.data === undefined) { return; }
    const latest = new Map(ch._latest).set(value, m);
    if (latest.size > Max.Latest) { latest.delete(latest.keys().next().value!); }
    ch._latest = latest;
    emit(s, ch._name, 'message', m);
}

const member = ({ userId, connectedAt, data }: any): Member => ({ userId, connectedAt, data });

function snapshot(s: State, ch: Channel, { users = [], count }: any): void {
    changed(s, ch, new Map(users.map((one: Member) => [one.userId, member(one)])), count);
}

function changed(s: State, ch: Channel, people: Map<string, Member>, count = people.size): void {
    ch._people = people;
    ch._known = count;
    show(s, ch);
}

// Who is as before stays the same object, and where all are, nothing is told. A gateway that lost its memory knows
// only those who are back already, so for a while nobody is seen to leave.
export function show(s: State, ch: Channel): void {
    const old = new Map(ch._members.map((one) => [one.userId, one]));
    const was = (one: Member) => old.get(one.userId);
    ch._people = new Map([...ch._people].map(([id, one]) => [id, same(was(one), one) ? was(one)! : one]));
    const people = new Map([...s._calmAt < Infinity ? old : [], ...ch._people]);
    const members = [...people.values()];
    const joined = members.filter((one) => !was(one));
    const updated = members.filter((one) => was(one) && was(one) !== one);
    const left = ch._members.filter((one) => !people.has(one.userId));
    const count = ch._known + members.length - ch._people.size;
    if ([...joined, ...updated, ...left].length || count !== ch._count) {
        ch._count = count;
        ch._members = members;
        ch._others = members.filter((one) => one.userId !== s._view.userId);
        emit(s, ch._name, 'presence', { joined, updated, left });
    }
}

function typing(s: State, ch: Channel, users: readonly string[]): void {
    if (same(users, ch._typing)) { return; }
    ch._typing = users;
    emit(s, ch._name, 'typing', users);
}

// Keys are told at once and then as often as keeps the server from forgetting; while away the last one counts.
function key(s: State, ch: Channel, active: boolean, at = s._now): void {
    ch._keyAt = active ? at : -Infinity;
    const told = s._now - ch._typedAt;
    if (!s._link || ch._on !== s._link || (active ? told < Ms.Repeat : told > Ms.Typing)) { return; }
    ch._typedAt = active ? s._now : -Infinity;
    send(s, s._link, { type: 'typing', channel: ch._name, active: active ? undefined : false });
}

const same = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

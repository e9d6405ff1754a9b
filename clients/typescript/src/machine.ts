// One user's connection as a pure function: what happened and when goes in, what shall happen comes out.
//
//   idle -> connecting -> online -- reconnect frame --> online, a second link coming up beside the first
//              ^             |
//              +-- waiting <-+ broken, or a close code that allows it (docs/PROTOCOL.md)
//                            +-> closed: any other close code, or close()
import { channelFrame, lostChannels, show, sync, touch } from './machine_channel';
import { notified } from './machine_notifications';
import { abandon, nextDue, rejectAll, reply, request, requeue, sendAll } from './machine_request';
import { backoff, Do, edit, emit, Ev, fault, send, type Command, type Event, type Fault, type Frame, type Settings, type State } from './machine_types';

// Here and in its neighbours numbers are enums, so that each is written where it is used and has no name in the bundle.
const enum Ms {
    Attempt = 10_000,   // For a token, an open socket and `connected` together.
    Stable = 5_000,     // Up for so long, and the next loss starts with a short backoff again.
    Pong = 10_000,
    Probe = 4_000,      // After waking: somebody looks at the screen.
    Handover = 1_000,   // For what is on its way on the old link.
}

export function initial(settings: Settings): State {
    return {
        _settings: settings, _seed: (settings._random * 2e9) | 1, _ids: 0,
        _want: false, _final: false, _next: 0, _link: 0, _old: 0, _nextDue: Infinity, _oldDue: Infinity,
        _attempt: 0, _retryAt: Infinity, _upAt: 0, _lostAt: Infinity, _calmAt: Infinity,
        _beatAt: Infinity, _pings: 0, _interval: 25_000, _refreshAt: Infinity, _skew: 0,
        _requests: new Map(), _channels: new Map(), _wishes: [],
        _notes: [], _acked: 0, _now: 0, _out: [], _mine: new Set(),
        _view: { state: 'idle', lost: false },
    };
}

export function step(state: State, event: Event, now: number): [State, Command[]] {
    const s: State = { ...state, _now: now, _out: [], _mine: new Set() };
    on(s, event);
    sendAll(s);
    if (s._link || !s._want) { s._lostAt = Infinity; } else if (s._lostAt === Infinity && !s._view.lost) { s._lostAt = now + s._settings._lostAfter; }
    const view = s._view;
    const name = s._link ? 'online' : s._next ? 'connecting' : s._want ? 'waiting' : view.error ? 'closed' : 'idle';
    if (view.state !== name) { s._view = { ...view, state: name }; }
    if (s._view !== state._view) { emit(s, '', 'state', s._view); }
    return [s, s._out];
}

// When the machine wants to be woken by a tick, whatever else happens.
export function due(s: State): number {
    return s._final ? Infinity : Math.min(s._retryAt, s._nextDue, s._oldDue,
                    s._lostAt, s._calmAt, s._beatAt, s._refreshAt, s._wishes[0]?.[0] ?? Infinity, nextDue(s));
}

function on(s: State, e: Event): void {
    if (s._final && e._t !== Ev.Request) { return; }
    switch (e._t) {
        case Ev.Connect:
            if (s._view.error) { s._view = { ...s._view, error: undefined }; }
            connect(s);
            break;
        case Ev.Close:
            s._final = true;
            end(s, fault('closed', 'closed'), 1000);
            break;
        case Ev.Opened:
            if (e._link === s._next) { send(s, e._link, { type: 'connect', id: ++s._ids, ...e._auth, resume: s._resume }); }
            break;
        case Ev.Frame: frame(s, e._link, e._frame); break;
        case Ev.Closed: closed(s, e._link, e._code, e._reason); break;
        case Ev.Tick: tick(s); break;
        case Ev.Wake: wake(s); break;
        case Ev.Hide:
            // A page with an open socket is not kept for going back. Closed without a code, so presence lingers.
            shut(s);
            break;
        case Ev.Token:
            // Without one it is asked for again, until the server ends the connection with 4002.
            s._refreshAt = s._now + 5_000;
            if (e._token && s._link) { send(s, s._link, { type: 'refresh', id: ++s._ids, token: e._token }); }
            break;
        case Ev.Request:
            request(s, e._handle, e._frame);
            connect(s);
            // Closed for good: only connect() begins again.
            if (s._view.error) { rejectAll(s, s._view.error); }
            break;
        case Ev.Later: s._wishes = [...s._wishes, [s._now + s._settings._linger, e._wish]]; break;
        default: if (touch(s, e)) { connect(s); }
    }
}

function connect(s: State): void {
    if (s._want || s._view.error) { return; }
    s._want = true;
    s._fault = undefined;
    begin(s);
}

function begin(s: State): void {
    s._retryAt = Infinity;
    if (s._next) { return; }
    s._next = ++s._ids;
    s._nextDue = s._now + Ms.Attempt;
    s._out.push([Do.Open, s._next]);
}

function frame(s: State, link: number, f: Frame): void {
    const error = f.type === 'error' ? f as unknown as Fault : undefined;
    if (link === s._next) {
        s._fault = error;
        if (f.type === 'connected') { connected(s, f); }
    } else if (link === s._link) {
        s._fault = undefined;
        s._pings = 0;
        s._beatAt = s._now + s._interval;
        switch (f.type) {
            case 'reconnect': s._retryAt = s._now + f['delay']; break;
            case 'refreshed': expires(s, f['expiresAt']); break;
            case 'direct': emit(s, '', 'direct', f['data']); break;
            default:
                if (reply(s, f)) { break; }
                if (f.type.startsWith('notification')) {
                    notified(s, f);
                } else if (error) {
                    // Told before a close code, or for a frame that asked for no reply.
                    s._fault = error;
                    emit(s, f.channel ?? '', 'error', error);
                } else {
                    channelFrame(s, link, f);
                }
        }
    } else if (link === s._old) {
        // Only what it was asked for: the new one tells all else.
        reply(s, f);
    }
}

// Closed without a code: should the new one not hold everything yet, presence lingers and nobody is seen to leave.
// Where there is none, nothing happens.
function dropOld(s: State): void {
    drop(s, s._old);
    lost(s, s._old);
    s._old = 0;
    s._oldDue = Infinity;
}

// What a link carried and held is without one.
function lost(s: State, link: number): void {
    requeue(s, link);
    lostChannels(s, link);
}

function drop(s: State, link: number, code?: number): void {
    s._out.push([Do.Close, link, code]);
}

function connected(s: State, f: Frame): void {
    dropOld(s);
    if (s._link) {
        s._old = s._link;
        s._oldDue = s._now + Ms.Handover;
    }
    s._link = s._next;
    s._next = 0;
    s._resume = f['resume'];
    s._interval = f['pingInterval'] * 1000;
    s._beatAt = s._now + s._interval;
    s._pings = 0;
    s._upAt = s._now;
    s._nextDue = s._retryAt = Infinity;
    s._skew = f['serverTime'] - s._now;
    s._view = { state: 'online', lost: false, userId: f['userId'], connectionId: f['connectionId'], nodeId: f['nodeId'] };
    expires(s, f['expiresAt']);
    notified(s, f['notifications']);
    sync(s);
}

// Told by the server's clock; ours may be wrong.
function expires(s: State, at: number | undefined): void {
    s._refreshAt = at && s._settings._fresh ? s._now + Math.max(1000, (at - s._skew - s._now) * 0.8) : Infinity;
}

function closed(s: State, link: number, code: number, reason: string): void {
    if (link === s._old) {
        dropOld(s);
        return;
    }
    const error = s._fault ?? fault(code === 4001 ? 'unauthenticated' : 'ended', reason || `${code}`);
    if (link === s._next) {
        s._next = 0;
        s._nextDue = Infinity;
    } else if (link === s._link) {
        // A frame past the gateway's limit: what is on its way may be it, and would be it again.
        if (code === 1009) { abandon(s, link, error); }
        gone(s);
    } else {
        return;
    }
    // After 4002 there must be a new token to come back with.
    if (code === 4002 ? !s._settings._fresh : !/^(10(0[169]|1[123])|400[46-9]|4010)$/.test(code as any)) {
        end(s, error);
    } else if (!s._next) {
        s._retryAt = backoff(s, s._attempt++);
    }
}

// The link that counted is no more.
function gone(s: State): void {
    lost(s, s._link);
    s._link = 0;
    if (s._now >= s._upAt + Ms.Stable) { s._attempt = 0; }
    s._beatAt = s._refreshAt = Infinity;
}

function shut(s: State, code?: number): void {
    drop(s, s._next, code);
    drop(s, s._link, code);
    s._next = 0;
    if (s._link) { gone(s); }
    dropOld(s);
    s._nextDue = s._retryAt = Infinity;
}

function end(s: State, error: Fault, code?: number): void {
    shut(s, code);
    s._want = false;
    s._view = { ...s._view, lost: false, error };
    rejectAll(s, error);
}

// Broken without a word: what the network should have told. The peer may be gone, so nobody waits for it.
function broken(s: State, link: number): void {
    drop(s, link);
    closed(s, link, 1006, '');
}

function tick(s: State): void {
    const now = s._now;
    if (s._lostAt <= now) {
        s._lostAt = Infinity;
        s._view = { ...s._view, lost: true };
        emit(s, '', 'lost');
    }
    if (s._calmAt <= now) {
        s._calmAt = Infinity;
        for (const name of s._channels.keys()) { show(s, edit(s, name)!); }
    }
    if (s._nextDue <= now) { broken(s, s._next); }
    if (s._oldDue <= now) { dropOld(s); }
    if (s._beatAt <= now) {
        // A tick that comes late was held up by sleep or a throttled tab, and so may be the answer that lies
        // in the socket: one more question before the connection counts as dead.
        if (s._pings > 1 || (s._pings && now < s._beatAt + 2000)) { broken(s, s._link); } else { probe(s, Ms.Pong); }
    }
    if (s._refreshAt <= now) { s._refreshAt = now + Ms.Attempt; s._out.push([Do.Token]); }
    if (s._retryAt <= now) { begin(s); }
    for (const [at, wish] of s._wishes) { if (at <= now) { touch(s, wish); } }
    s._wishes = s._wishes.filter(([at]) => at > now);
    sync(s);
}

function probe(s: State, ms: number): void {
    s._pings++;
    s._beatAt = s._now + ms;
    send(s, s._link, { type: 'ping' });
}

// The network is back, the page is looked at again, the machine woke up.
function wake(s: State): void {
    if (!s._want) { return; }
    s._lostAt = Infinity;
    if (!s._link) { begin(s); } else if (!s._pings) { probe(s, Ms.Probe); } else { s._beatAt = Math.min(s._beatAt, s._now + Ms.Probe); }
    tick(s);
}

// The words of the connection machine: what it keeps, what it hears, what it asks the shell to do.
// Names with a leading underscore are the package's own; the build shortens them.
import type { Gap, Member, Message, Notification, Position, ConnectionView, ChannelState } from './types';

// An error as a frame tells it, or one of our own.
export interface Fault { code: string; message: string; retryable: boolean; channel?: string | undefined }
export const fault = (code: string, message: string, retryable = false, channel?: string): Fault => ({ code, message, retryable, channel });

// A frame of the server as it was parsed; only what the machine reads is named.
export interface Frame {
    type: string;
    id?: number | string;
    channel?: string;
    [field: string]: any;
}

// Whoever is told of a request's end; the machine only hands it back.
export type Handle = any;

// Waits for a reply: sent on `_link`, or not sent yet where that is 0.
export interface Request {
    _handle: Handle;        // A subscription has none.
    _frame: Frame;
    _deadline: number;
    _link: number;
    _retryAt: number;
    _tries: number;
}

export interface Channel {
    readonly _name: string;
    _refs: number;          // Listeners that want the subscription.
    _enters: number;        // Holders that want to be present.
    _data?: unknown;         // The last presence data, whoever gave it.
    _sent?: unknown;         // The data the server has from this client.
    _present: boolean;      // How the subscription was asked for last.
    _asked: number;         // The link it was asked for on.
    _request: number;       // The subscribe that waits for its reply.
    _on: number;            // The link it is live on.
    _ever: boolean;         // Was live once, so what was sent while it was not is a gap.
    _status: ChannelState;
    _error?: Fault | undefined;
    _options: { watch?: string; token?: string };
    _position?: Position | undefined;
    _latest: ReadonlyMap<string, Message>;
    _people: Map<string, Member>;   // As the server told it.
    _known: number;                 // How many those are.
    _members: readonly Member[];    // As it is shown, and all but this user.
    _others: readonly Member[];
    _count: number;
    _typing: readonly string[];
    _typedAt: number;       // When `typing` was sent last.
    _keyAt: number;         // When a key was pressed last.
}

export interface State {
    _settings: Settings;
    _seed: number;
    _ids: number;           // Of links and requests: one row, so none is ever used again.
    _want: boolean;
    _final: boolean;        // close() was called: nothing starts any more.
    _next: number;          // The link that comes up; 0: none.
    _link: number;          // The link that counts.
    _old: number;           // Silent for new work, open until the new link has everything.
    _nextDue: number;
    _oldDue: number;
    _attempt: number;
    _retryAt: number;       // When the next link is begun, after a loss or a `reconnect`.
    _upAt: number;          // Since when the link counts.
    _lostAt: number;
    _calmAt: number;        // Until then nobody is seen to leave, for others may not be back yet.
    _beatAt: number;
    _pings: number;         // Unanswered.
    _interval: number;
    _refreshAt: number;
    _skew: number;
    _resume?: string | undefined;
    _fault?: Fault | undefined;  // The last error without an id: what a close code comes with.
    _requests: Map<number, Request>;
    _channels: Map<string, Channel>;
    _notes: readonly Notification[];
    _epoch?: string | undefined;
    _acked: number;
    _wishes: readonly [number, Wish][];     // When, and what.
    _view: ConnectionView;
    // Of the step at work: when it is, what shall happen, and which maps and channels are copies already.
    _now: number;
    _out: Command[];
    _mine: Set<unknown>;
}

export interface Settings {
    _fresh: boolean;        // Tokens come from a function, so there is a new one to be had.
    _queue: number;
    _publishTimeout: number;
    _lostAfter: number;
    _linger: number;
    _random: number;
}

export const enum Ev { Connect, Close, Opened, Frame, Closed, Tick, Wake, Hide, Token, Request, Retain, Enter, Key, Later }

export type Event =
    | { _t: Ev.Connect | Ev.Close | Ev.Tick | Ev.Wake | Ev.Hide }
    | { _t: Ev.Opened; _link: number; _auth: object }
    | { _t: Ev.Frame; _link: number; _frame: Frame }
    | { _t: Ev.Closed; _link: number; _code: number; _reason: string }
    | { _t: Ev.Token; _token: string | null | undefined }
    | { _t: Ev.Request; _handle: Handle; _frame: Frame }
    | { _t: Ev.Later; _wish: Wish }             // Unless it is held again within the linger.
    | Wish;

// What is wanted of a channel: so many holders more or less; for keys 1 is pressed and 0 done.
export interface Wish {
    _t: Ev.Retain | Ev.Enter | Ev.Key;
    _channel: string;
    _by: number;
    _data?: unknown;
    _options?: ChannelSettings | undefined;
}

export type ChannelSettings = { watch?: string; token?: string; since?: Position };

export const enum Do { Open, Send, Close, Token, Emit, Settle }

export type Command =
    | [Do.Open, link: number]
    | [Do.Send, link: number, frame: object]
    | [Do.Close, link: number, code: number | undefined]
    | [Do.Token]
    | [Do.Emit, channel: string, name: string, value: unknown]
    | [Do.Settle, handle: Handle, result: Frame | Fault, failed: boolean];

export type { Gap, Member, Message, Notification, Position };

export function emit(s: State, channel: string, name: string, value?: unknown): void {
    s._out.push([Do.Emit, channel, name, value]);
}

export function send(s: State, link: number, frame: object): void {
    s._out.push([Do.Send, link, frame]);
}

function own<K, V>(s: State, map: Map<K, V>): Map<K, V> {
    if (s._mine.has(map)) { return map; }
    const copy = new Map(map);
    s._mine.add(copy);
    return copy;
}

export const requests = (s: State): Map<number, Request> => s._requests = own(s, s._requests);
export const channels = (s: State): Map<string, Channel> => s._channels = own(s, s._channels);

export function editRequest(s: State, id: number, change: Partial<Request>): void {
    requests(s).set(id, { ...s._requests.get(id)!, ...change });
}

// The channel as this turn may change it.
export function edit(s: State, name: string): Channel | undefined {
    const found = s._channels.get(name);
    if (!found || s._mine.has(found)) { return found; }
    const copy = { ...found };
    s._mine.add(copy);
    channels(s).set(name, copy);
    return copy;
}

// Full jitter: many clients that lost one node come back spread out, not in waves.
export function backoff(s: State, attempt: number): number {
    s._seed = s._seed * 16807 % 2147483647;
    return s._now + s._seed / 2147483647 * Math.min(20_000, 500 * 2 ** attempt);
}

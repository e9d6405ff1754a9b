// What users of the package see: values, options and how a map of channel patterns types them.

/** Where a message stands in a channel's history. */
export interface Position { readonly epoch: string; readonly offset: number; readonly id: string }

/** A message of a channel. */
export interface Message<T = any, E extends string | undefined = string | undefined> {
    /** The name it was published with. */
    readonly event: E;
    readonly data: T;
    readonly id: string;
    /** Its place in the channel's history, where the channel has one. */
    readonly offset?: number;
    /** Who published it, where a client did. */
    readonly userId?: string;
    readonly time: number;
    readonly conflateKey?: string;
}

/** A user who is present in a channel. */
export interface Member<P = any> {
    readonly userId: string;
    /** When the user entered, in Unix milliseconds. */
    readonly connectedAt: number;
    readonly data: P;
}

/** What changed in a channel's presence; net, so each user is in one of the lists at most. */
export interface PresenceChange<P = any> {
    readonly joined: readonly Member<P>[];
    readonly updated: readonly Member<P>[];
    readonly left: readonly Member<P>[];
}

/** Something for this user alone, on all devices. */
export interface Notification<N = any> {
    readonly data: N;
    readonly id: string;
    readonly offset: number;
    readonly time: number;
}

/** Messages were missed that cannot be had again; told once for each time. */
export interface Gap {
    readonly channel: string;
    /**
     * `epoch`, `gap`, `fork`, `limit`: the server's reason. `slow`: this client could not keep up.
     * `unrecorded`: the channel keeps no history, and this client was away.
     */
    readonly reason: string;
    /** The last message before the gap; `history({ since })` may still have some after it (`limit`). */
    readonly from: Position | undefined;
    /** The newest message when the gap was found. */
    readonly to: Position | undefined;
}

/** What `client.state` can be. */
export type ConnectionState = 'idle' | 'connecting' | 'online' | 'waiting' | 'closed';

/** How the connection is; a new object for each change, so it can be compared by identity. */
export interface ConnectionView {
    readonly state: ConnectionState;
    /** Not online for `lostAfter`: the moment to show a banner. */
    readonly lost: boolean;
    readonly userId?: string;
    readonly connectionId?: string;
    readonly nodeId?: string;
    /** Why it is closed. */
    readonly error?: StarlingErrorLike | undefined;
}

/** Why a connection is closed: the fields of a `StarlingError`. */
export interface StarlingErrorLike { readonly code: string; readonly message: string; readonly retryable: boolean }

/** What `channel.state` can be. */
export type ChannelState = 'idle' | 'joining' | 'live' | 'failed';

/** What a channel pattern carries: its messages, or a map of named events, and its presence data. */
export interface ChannelTypes { message?: unknown; events?: Record<string, unknown>; presence?: unknown }

/** From channel pattern (`doc:42`, `doc:*`, `*`) to what these channels carry. */
export type ChannelMap = Record<string, ChannelTypes>;

/**
 * Where an application says once what its channels carry, for clients and hooks that are not told otherwise:
 * `declare module '@starling/client' { interface Register { channels: Channels } }`.
 */
export interface Register {}
/** The application's channels; anything goes where it says nothing. */
export type Registered = Register extends { channels: infer M } ? M : any;

type Template<P extends string> = P extends `${infer Head}*` ? `${Head}${string}` : P;

/** The patterns of `M` that the channel name fits; an exact one wins. */
type Matching<M, Name extends string> =
    Name extends keyof M ? Name : { [P in keyof M & string]: Name extends Template<P> ? P : never }[keyof M & string];

/** What the map says of a channel name; anything goes where no pattern fits. */
export type TypesOf<M, Name extends string> =
    IsAny<M> extends true ? Untyped : [Matching<M, Name>] extends [never] ? Untyped : M[Matching<M, Name> & keyof M];

type IsAny<T> = 0 extends 1 & T ? true : false;
/** A channel that the map says nothing of. */
export interface Untyped { message: any; presence: any; events: Record<string, any> }

/** The presence data of a channel. */
export type PresenceOf<C> = C extends { presence: infer P } ? P : any;
/** The named events of a channel. */
export type EventsOf<C> = IsAny<C> extends true ? Record<string, any> : C extends { events: infer E } ? E : Record<string, any>;

/** The messages of a channel: a union over the named events where there are any. */
export type MessageOf<C> = IsAny<C> extends true ? Message :
    | (C extends { events: infer E } ? { [K in keyof E & string]: Message<E[K], K> }[keyof E & string] : never)
    | (C extends { message: infer T } ? Message<T> : C extends { events: unknown } ? never : Message<any>);

/** What may be published without naming an event. */
export type DataOf<C> = C extends { message: infer T } ? T : C extends { events: unknown } ? never : any;

/** How a message is published. */
export interface PublishOptions {
    /** A name, 1 to 64 bytes, that subscribers can ask for. */
    event?: string;
    /** The idempotency key; without one the client makes one and keeps it over reconnects. */
    key?: string;
    /** In latest-value channels: which value this is. */
    conflateKey?: string;
    /** `false`: not to this connection itself. */
    echo?: boolean;
}

/** What the gateway says of a message that it has. */
export interface Published {
    readonly messageId: string;
    readonly epoch?: string;
    readonly offset?: number;
    /** The key was used before: this is the first result. */
    readonly duplicate?: boolean;
}

/** Which messages of a history: after `since`, at most `limit` (100; up to 1,000), the newest first with `reverse`. */
export interface HistoryOptions { since?: Position; limit?: number; reverse?: boolean }
/** Messages of a history, and where its newest one stands. */
export interface History<T = Message> { readonly position: Position | undefined; readonly messages: readonly T[] }

/** How a channel is subscribed. */
export interface ChannelOptions {
    /** Which presence events this client wants; `none` and `count` spare traffic in large channels. */
    watch?: 'members' | 'count' | 'none';
    /** A channel token, where the channel needs one. */
    token?: string;
    /** Continue from here, for example from where a server-rendered page left off. */
    since?: Position;
}

/** What a transport tells: each text is one frame. */
export interface TransportHandlers {
    open(): void;
    text(text: string): void;
    close(code: number, reason: string): void;
}
/** One connection of a transport. */
export interface TransportLink { send(text: string): void; close(code?: number): void }
/** The least that the client needs of a connection. The first text that it sends is the `connect` frame. */
export type Transport = (url: string, on: TransportHandlers) => TransportLink;

/** Time, as the client takes it; tests bring their own. Plain functions: they are called without `this`. */
export interface Clock {
    /** Unix milliseconds, or any milliseconds that go on while the machine sleeps. */
    now(): number;
    setTimeout(run: () => void, ms: number): unknown;
    clearTimeout(timer: any): void;
}

/** A token, or where one comes from. */
export type TokenSource = string | (() => string | null | Promise<string | null>);

/** What `createClient` takes. */
export interface ClientOptions {
    /** `https://host`, `wss://host/v1/ws`, or in a browser a path; `?app=` names an app of several. */
    url: string;
    /**
     * A token, or a function that gets one. The function is asked for each connection and before a token
     * expires; what it throws counts as a broken network, `null` as signed out.
     */
    token?: TokenSource;
    /** The user's name, in development mode only. */
    user?: string;
    /** How long not online before `lost`, in ms. Default 5,000. */
    lostAfter?: number;
    /** How long a publish may wait for its acknowledgement, in ms. Default 60,000; at most 240,000. */
    publishTimeout?: number;
    /** How many publishes and requests may wait. Default 100. */
    queueSize?: number;
    /** How long a channel that nobody uses any more stays subscribed, in ms. Default 1,000. */
    linger?: number;
    /** A WebSocket class, where there is no global one (Node before 22: the `ws` package). */
    WebSocket?: any;
    transport?: Transport;
    clock?: Clock;
    /** From 0 to 1, like Math.random. */
    random?: () => number;
}

// The objects that users hold: a client, its channels, who is in them, who types, notifications.
import type { StarlingError } from './error';
import type {
    ChannelOptions, ChannelState, ConnectionState, ConnectionView, DataOf, EventsOf, Gap, History, HistoryOptions, Member, Message, MessageOf,
    Notification, PresenceChange, PresenceOf, Published, PublishOptions, TypesOf,
} from './types';

/** What `client.on` can listen to. */
export interface ClientEvents {
    /** The connection changed: its state, its identity, `lost`. */
    state: ConnectionView;
    /** Not online for `lostAfter`; once for each time. */
    lost: undefined;
    /** The server refused something that nobody waits for. Where nobody listens, the console says it. */
    error: StarlingError;
    /** The backend sent something to this connection alone. */
    direct: unknown;
    /** A new one; those that were unread before the client connected are only in the list. */
    notification: Notification;
}

/** One user's connection to a gateway. It connects when something is first asked of it. */
export interface Client<M = any> {
    /** `idle` until something is asked of it; `waiting` is between two attempts; `closed` is for good. */
    readonly state: ConnectionState;
    /** The same with its circumstances, a new object for each change. */
    readonly connection: ConnectionView;
    readonly notifications: Notifications;
    /** The channel of this name, the same object each time; `options` count the first time. */
    channel<N extends string>(name: N, options?: ChannelOptions): Channel<TypesOf<M, N>>;
    /** Connects now, also after it was closed by the server. */
    connect(): void;
    /** Ends it for good: nothing is sent or retried any more, and what waits is rejected. */
    close(): void;
    /** Listens to what befalls the connection; the function that is returned ends it. */
    on<E extends keyof ClientEvents>(event: E, listener: (value: ClientEvents[E]) => void): () => void;
}

/** Who is in the channel. Lists are new objects for each change, so they can be compared by identity. */
export interface Presence<P = any> {
    readonly members: readonly Member<P>[];
    /** All but this user. */
    readonly others: readonly Member<P>[];
    readonly self: Member<P> | undefined;
    /** How many; also where the channel is too large to list. */
    readonly count: number;
    /** Be present. The function that is returned takes it back, as `leave` does, once nobody else holds it. */
    enter(data?: P): () => void;
    /** New data for this user; while offline only the last counts. */
    update(data: P): void;
    /** Be gone at once, whoever entered. */
    leave(): void;
    /** Who is there, asked of the server; takes no subscription. */
    get(): Promise<{ count: number; users: Member<P>[] }>;
    /** Listens, and holds the subscription until the returned function is called. */
    on(listener: (change: PresenceChange<P>) => void): () => void;
}

/** Who types in the channel. */
export interface Typing {
    /** The other users who type. */
    readonly users: readonly string[];
    /** Call it for each key: it sends no more than is needed. */
    keystroke(): void;
    /** The field was left or emptied. A message of this user ends it by itself, and so do 5 s without a key. */
    stop(): void;
    /** Listens, and holds the subscription until the returned function is called. */
    on(listener: (users: readonly string[]) => void): () => void;
}

/** The last message of each `conflateKey`, for dashboards, prices and cursors. */
export interface Latest<T = any> {
    /** The last message of that `conflateKey`, or of all messages without one. */
    get(key?: string): Message<T> | undefined;
    /** All of them by key, at most 1,000; a new map for each change. */
    readonly values: ReadonlyMap<string, Message<T>>;
    /** Listens, and holds the subscription until the returned function is called. */
    on(listener: (message: Message<T>) => void): () => void;
}

/** What `channel.on` can listen to. */
export interface ChannelEvents {
    state: ChannelState;
    /** Messages were missed; load again what they changed. */
    gap: Gap;
    /** The channel was refused or ended, or a frame about it was. Where nobody listens, the console says it. */
    error: StarlingError;
}

/** A channel as this client uses it. It is subscribed while somebody listens or is present. */
export interface Channel<C = any> {
    readonly name: string;
    /** `live` when it is subscribed; `failed` when it was refused. */
    readonly state: ChannelState;
    /** Listens to messages and holds the subscription until the returned function is called. */
    subscribe(listener: (message: MessageOf<C>) => void): () => void;
    subscribe<E extends keyof EventsOf<C> & string>(event: E, listener: (message: Message<EventsOf<C>[E], E>) => void): () => void;
    /** Ends the subscription and presence at once, whoever holds them. Listeners stay, and hear nothing. */
    unsubscribe(): void;
    /** Resolves when the gateway has the message; it survives reconnects, and is published once. */
    publish<E extends keyof EventsOf<C> & string>(data: EventsOf<C>[E], options: PublishOptions & { event: E }): Promise<Published>;
    publish(data: DataOf<C>, options?: PublishOptions): Promise<Published>;
    /** Messages out of the channel's history; takes no subscription. */
    history(options?: HistoryOptions): Promise<History<MessageOf<C>>>;
    /** Resolves when the channel is live, which it asks for; rejects when it is refused. */
    ready(): Promise<void>;
    readonly presence: Presence<PresenceOf<C>>;
    readonly typing: Typing;
    readonly latest: Latest<DataOf<C>>;
    /** Listens to what befalls the channel; holds nothing. */
    on<E extends keyof ChannelEvents>(event: E, listener: (value: ChannelEvents[E]) => void): () => void;
}

/** The user's notifications: a list with a mark; what is after the mark is unread, on all devices. */
export interface Notifications<N = any> {
    /** Oldest first, at most 100; a new array for each change. Connects where nothing else did. */
    readonly list: readonly Notification<N>[];
    /** How many are not acknowledged on any device. */
    readonly unread: number;
    /** Marks all up to this one as read on all devices; without one, all there are. */
    acknowledge(upTo?: Notification<N> | number): Promise<void>;
    /** Listens to changes of the list and of the mark, and connects. */
    on(listener: () => void): () => void;
    /** Whether it is acknowledged. */
    isRead(notification: Notification<N>): boolean;
}

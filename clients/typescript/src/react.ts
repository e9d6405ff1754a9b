// React hooks over the client. A hook holds what it needs while it is mounted; the client lets go a moment
// later, so that StrictMode's second mount and a change of route cost no frame.
import {
    createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useSyncExternalStore, type ReactNode,
} from 'react';
import type { Channel, Client } from './api';
import type {
    ConnectionView, DataOf, EventsOf, Member, Message, MessageOf, Notification, PresenceOf, Registered, TypesOf,
} from './types';

const Context = createContext<Client | undefined>(undefined);

/** Gives the hooks below it their client. */
export function StarlingProvider(props: { client: Client<any>; children?: ReactNode }): ReactNode {
    return createElement(Context.Provider, { value: props.client }, props.children);
}

/** The client of the nearest provider. */
export function useClient<M = Registered>(): Client<M> {
    const client = useContext(Context);
    if (!client) { throw new Error('there is no StarlingProvider above'); }
    return client;
}

function useChannel(name: string): Channel { return useClient().channel(name) as Channel; }

// A function that is always the same and calls the newest one.
function useLatest<F extends (...words: any[]) => unknown>(run: F): (...words: Parameters<F>) => ReturnType<F> {
    const ref = useRef(run);
    useEffect(() => { ref.current = run; });
    return useCallback((...words) => ref.current(...words) as ReturnType<F>, []);
}

// The server renders what there is before anything is connected; so does the first render in the browser.
function useStore<T>(subscribe: (changed: () => void) => () => void, read: () => T, before: T): T {
    return useSyncExternalStore(subscribe, read, () => before);
}

/** How the connection is, and whether it has been lost for long enough to say so. */
export function useConnection(): ConnectionView {
    const client = useClient();
    return useStore(useCallback((changed) => client.on('state', changed), [client]), () => client.connection, kIdle);
}

const kIdle: ConnectionView = { state: 'idle', lost: false };
const kNone: readonly never[] = [];

/** What `useMessages` takes. */
export interface MessagesOptions {
    /** How many of the newest messages to begin with, out of the history. Default 0: only what comes from now on. */
    history?: number;
    /** How many to keep; the oldest go. Default 1,000. */
    limit?: number;
    /** Messages of this event only. */
    event?: string;
}

/** The messages of a channel, oldest first. After a gap they begin anew out of the history. */
export function useMessages<M = Registered, N extends string = string>(name: N, options: MessagesOptions = {}): readonly MessageOf<TypesOf<M, N>>[] {
    const channel = useChannel(name);
    const { history = 0, limit = 1000, event } = options;
    const store = useMemo(() => messageStore(channel, history, limit, event), [channel, history, limit, event]);
    return useStore(store.subscribe, store.read, kNone) as readonly any[];
}

function messageStore(channel: Channel, history: number, limit: number, event: string | undefined) {
    let list: readonly Message[] = kNone;
    let changed = (): void => {};
    const keep = (messages: readonly Message[]): void => {
        list = (event === undefined ? messages : messages.filter((one) => one.event === event)).slice(-limit);
        changed();
    };
    // Asked for once the channel is live, so that nothing lies between the two; what came meanwhile stays, once.
    let wanted = false;
    let meanwhile: Message[] | undefined;
    const load = (): void => {
        if (!wanted || channel.state !== 'live') { return; }
        wanted = false;
        meanwhile = [];
        channel.history({ limit: history, reverse: true }).then(({ messages }) => {
            const known = new Set(messages.map((one) => one.id));
            keep([...messages].reverse().concat((meanwhile ?? []).filter((one) => !known.has(one.id))));
            meanwhile = undefined;
        }, () => { wanted = true; });
    };
    const begin = (): void => { wanted = history > 0; load(); };
    return {
        read: () => list,
        subscribe: (notify: () => void): (() => void) => {
            changed = notify;
            const heard = (message: Message): void => { meanwhile?.push(message); keep([...list, message]); };
            const stops = [channel.subscribe(heard), channel.on('gap', begin), channel.on('state', load)];
            begin();
            return () => { stops.forEach((stop) => stop()); };
        },
    };
}

/** Calls the function for each message of that event; the newest function, without a new subscription. */
export function useEvent<M = Registered, N extends string = string, E extends keyof EventsOf<TypesOf<M, N>> & string = any>(
    name: N, event: E, listener: (message: Message<EventsOf<TypesOf<M, N>>[E], E>) => void,
): void {
    const channel = useChannel(name);
    const run = useLatest(listener);
    useEffect(() => channel.subscribe(event, run as any), [channel, event, run]);
}

/** What `usePresence` gives. */
export interface PresenceView<P = any> {
    readonly members: readonly Member<P>[];
    readonly others: readonly Member<P>[];
    readonly self: Member<P> | undefined;
    readonly count: number;
}

const kNobody: PresenceView = { members: kNone, others: kNone, self: undefined, count: 0 };

/**
 * Who is in the channel. With `data` this user is present while mounted, with the data of the latest render;
 * without it, only watching.
 */
export function usePresence<M = Registered, N extends string = string>(name: N, data?: PresenceOf<TypesOf<M, N>>): PresenceView<PresenceOf<TypesOf<M, N>>> {
    const { presence } = useChannel(name);
    const enters = data !== undefined;
    const text = JSON.stringify(data);
    useEffect(() => enters ? presence.enter(data as any) : undefined, [presence, enters]);
    useEffect(() => { if (enters) { presence.update(data as any); } }, [presence, enters, text]);
    const view = useRef(kNobody);
    return useStore(useCallback((changed) => presence.on(changed), [presence]), () => {
        const { members, others, self, count } = presence;
        const old = view.current;
        return old.members === members && old.count === count && old.self === self ? old : (view.current = { members, others, self, count });
    }, kNobody);
}

type Other<N extends string> = Member<PresenceOf<TypesOf<Registered, N>>>;

/** What `selector` takes of the others; renders again only where `isEqual` says that it differs. */
export function useOthers<N extends string>(name: N): readonly Other<N>[];
export function useOthers<N extends string, T>(name: N, selector: (others: readonly Other<N>[]) => T, isEqual?: (a: T, b: T) => boolean): T;
export function useOthers<T>(
    name: string, selector: (others: readonly Member[]) => T = (others) => others as T, isEqual: (a: T, b: T) => boolean = Object.is,
): T {
    const { presence } = useChannel(name);
    const last = useRef<[readonly Member[], typeof selector, T]>(undefined);
    const pick = (others: readonly Member[]): T => {
        const old = last.current;
        if (old && old[0] === others && old[1] === selector) { return old[2]; }
        const next = selector(others);
        const value = old && isEqual(old[2], next) ? old[2] : next;
        last.current = [others, selector, value];
        return value;
    };
    return useSyncExternalStore(useCallback((changed) => presence.on(changed), [presence]), () => pick(presence.others), () => pick(kNone));
}

/** What `useTyping` gives. */
export interface TypingView {
    readonly users: readonly string[];
    keystroke(): void;
    stop(): void;
}

/** Who types, and the two calls for the field where this user does. */
export function useTyping(name: string): TypingView {
    const { typing } = useChannel(name);
    const users = useStore(useCallback((changed) => typing.on(changed), [typing]), () => typing.users, kNone);
    return useMemo(() => ({ users, keystroke: typing.keystroke, stop: typing.stop }), [users, typing]);
}

/** What `useNotifications` gives. */
export interface NotificationsView<D = any> {
    readonly list: readonly Notification<D>[];
    readonly unread: number;
    acknowledge(upTo?: Notification<D> | number): Promise<void>;
    isRead(notification: Notification<D>): boolean;
}

/** The user's notifications and how many are unread, the same on all devices. */
export function useNotifications<D = any>(): NotificationsView<D> {
    const { notifications } = useClient();
    const read = (): string => `${notifications.unread} ${notifications.list.at(-1)?.id} ${notifications.list.length}`;
    const state = useStore(useCallback((changed) => notifications.on(changed), [notifications]), read, '');
    return useMemo(() => ({
        list: state ? notifications.list : kNone, unread: state ? notifications.unread : 0,
        acknowledge: notifications.acknowledge, isRead: notifications.isRead,
    }), [notifications, state]);
}

/** What `useLiveValue` takes: which value of the channel, and what it is until there is one. */
export interface LiveOptions<T> { key?: string; initial?: T }
type Live<N extends string> = DataOf<TypesOf<Registered, N>>;

/** The latest value of a channel, or of one `conflateKey` in it; `initial` until there is one. */
export function useLiveValue<N extends string>(name: N, options?: LiveOptions<Live<N>>): Live<N> | undefined;
export function useLiveValue<T>(name: string, options?: LiveOptions<T>): T | undefined;
export function useLiveValue<T>(name: string, options: LiveOptions<T> = {}): T | undefined {
    const { latest } = useChannel(name);
    const { key, initial } = options;
    const message = useStore(useCallback((changed) => latest.on(changed), [latest]), () => latest.get(key), undefined);
    return message ? message.data as T : initial;
}


// The shell around the machine: sockets, timers, tokens and listeners; it decides nothing.
import type { Channel, Client } from './api';
import { makeChannel } from './channel';
import type { Core, Listener } from './core';
import { StarlingError } from './error';
import { due, initial, step } from './machine';
import { Do, Ev, type Command, type Event, type Fault } from './machine_types';
import { makeNotifications } from './notifications';
import { socketUrl, webSocket } from './transport';
import type { ClientOptions, Clock, Registered, TransportLink } from './types';

const enum Ms { Timer = 2e9 }   // Beyond 2^31 a timer fires at once.

/** Makes a client. It connects when something is first asked of it, so it may be made anywhere, also on a server. */
export function createClient<M = Registered>(options: ClientOptions): Client<M> {
    const { now: read, setTimeout: start, clearTimeout: stop }: Clock = options.clock ?? { now: Date.now, setTimeout, clearTimeout };
    const random = options.random ?? Math.random;
    const transport = options.transport ?? webSocket(options.WebSocket);
    const { token } = options;
    const fresh = typeof token === 'function';
    const prefix = random() + '.';      // Two tabs of one user must not share a key.
    const listeners = new Map<string, Set<[Listener]>>();
    const links = new Map<number, TransportLink | undefined>();
    const made = new Map<string, Channel>();
    let keys = 0;
    let time = -Infinity;
    let timer: unknown;
    let armed = Infinity;
    let watching: AbortController | undefined;
    let state = initial({
        _fresh: fresh, _queue: options.queueSize ?? 100,
        _publishTimeout: Math.min(options.publishTimeout ?? 60_000, 240_000), _lostAfter: options.lostAfter ?? 5_000,
        _linger: options.linger ?? 1_000, _random: random(),
    });

    // Time that does not go back when somebody sets the clock.
    let lag = 0;
    const now = (): number => {
        const at = read();
        lag = Math.max(lag, time - at);
        return (time = at + lag);
    };

    // Listeners may ask for more while a step is carried out: one step after the other.
    const waiting: Event[] = [];
    let busy = false;
    const dispatch = (event: Event): void => {
        waiting.push(event);
        if (busy) { return; }
        busy = true;
        for (let next; (next = waiting.shift());) {
            const [after, commands] = step(state, next, now());
            state = after;
            commands.forEach(perform);
        }
        busy = false;
        arm();
    };

    const arm = (): void => {
        const at = due(state);
        if (at >= armed && at < Infinity) { return; }    // A tick too early does no harm.
        stop(timer);
        armed = at;
        if (at < Infinity) { timer = start(() => { armed = Infinity; dispatch({ _t: Ev.Tick }); }, Math.min(Ms.Timer, at - now())); }
    };

    const emit = (channel: string, name: string, value: unknown): void => {
        const all = [...listeners.get(name + ' ' + channel) ?? []];
        // Refused, and nobody asks why: somebody will wonder.
        if (name === 'error' && !all.length) { console.error(value); }
        for (const [listener] of all) {
            // One bad listener costs the others nothing, and is not hidden.
            try { listener(value); } catch (error) { start(() => { throw error; }, 0); }
        }
    };

    const perform = (c: Command): void => {
        const [, id] = c as [Do, number];
        const link = links.get(id);
        switch (c[0]) {
            case Do.Open: open(id); break;
            case Do.Send: link?.send(JSON.stringify(c[2])); break;
            case Do.Close:
                links.delete(id);
                link?.close(c[2]);
                break;
            case Do.Token:
                getToken().then((mine) => dispatch({ _t: Ev.Token, _token: mine }), () => {});
                break;
            case Do.Settle:
                c[1](c[3] ? Promise.reject(new StarlingError(c[2] as Fault)) : c[2]);
                break;
            case Do.Emit: emit(c[1], c[2], c[2] === 'error' ? new StarlingError(c[3] as Fault) : c[3]);
        }
    };

    const getToken = async (): Promise<string | null | undefined> => fresh ? token() : token;

    const open = (id: number): void => {
        links.set(id, undefined);
        watching ??= watch(dispatch);
        const over = (code: number, reason: unknown): void => {
            if (links.delete(id)) { dispatch({ _t: Ev.Closed, _link: id, _code: code, _reason: `${reason}` }); }
        };
        // A token that could not be had may be had later; a wrong address does not get better with time.
        getToken().then((mine) => {
            if (mine === null) { over(4001, 'no token'); }
            if (!links.has(id)) { return; }
            links.set(id, transport(socketUrl(options.url), {
                open: () => dispatch({ _t: Ev.Opened, _link: id, _auth: { user: options.user, token: mine } }),
                text: (text) => { if (links.has(id)) { dispatch({ _t: Ev.Frame, _link: id, _frame: JSON.parse(text) }); } },
                close: over,
            }));
        }, (error) => over(1006, error)).catch((error) => over(4000, error));
    };

    const core: Core = {
        _state: () => state,
        _tell: (event) => {
            dispatch(event);
            queueMicrotask(() => dispatch({ _t: Ev.Tick }));
        },
        _request: (frame) => new Promise((resolve) => {
            if (frame.type === 'publish') { frame['key'] ??= prefix + ++keys; }
            dispatch({ _t: Ev.Request, _handle: resolve, _frame: frame });
        }),
        _listen: (channel, name, listener) => {
            const key = name + ' ' + channel;
            const all = listeners.get(key) ?? new Set();
            const own: [Listener] = [listener];     // The same function may listen twice.
            listeners.set(key, all.add(own));
            return () => { all.delete(own); };
        },
    };

    return {
        get state() { return state._view.state; },
        get connection() { return state._view; },
        notifications: makeNotifications(core),
        channel: (name, settings) => {
            if (!made.has(name)) { made.set(name, makeChannel(core, name, settings)); }
            return made.get(name) as any;
        },
        connect: () => dispatch({ _t: Ev.Connect }),
        close: () => {
            dispatch({ _t: Ev.Close });
            watching?.abort();
        },
        on: (event, listener) => core._listen('', event, listener),
    };
}

// What a page hears of the network, of being looked at, and of being put aside. Workers and Node hear less.
function watch(dispatch: (event: Event) => void): AbortController {
    const page = globalThis as any;
    const until = new AbortController();    // Serves as the options too, for the sake of its `signal`.
    const on = (target: any, name: string, run: () => unknown): void => target?.addEventListener?.(name, run, until);
    const wake = (): void => dispatch({ _t: Ev.Wake });
    on(page, 'online', wake);
    on(page, 'pageshow', wake);
    on(page, 'pagehide', () => dispatch({ _t: Ev.Hide }));
    on(page.document, 'visibilitychange', () => page.document.hidden || wake());
    return until;
}

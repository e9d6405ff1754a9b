// A channel as its users see it: messages, presence, typing, latest values. All of it is read from the
// machine's state; whoever listens holds the subscription, and the last one to stop lets go after a moment.
import type { Channel } from './api';
import type { Core } from './core';
import { toError } from './error';
import { Ev, type Channel as Kept, type Wish } from './machine_types';
import type { ChannelOptions, Message, PublishOptions } from './types';

const kNone: readonly never[] = [];
const kNoValues: ReadonlyMap<string, Message> = new Map();

export function makeChannel(core: Core, channel: string, options: ChannelOptions | undefined): Channel {
    const kept = (): Kept | undefined => core._state()._channels.get(channel);
    const listen = (name: string, listener: (value: any) => void) => core._listen(channel, name, listener);
    const wish = (_t: Wish['_t'], _by: number, _data?: unknown): Wish => ({ _t, _channel: channel, _by, _data, _options: options });
    const tell = (...words: Parameters<typeof wish>) => core._tell(wish(...words));
    const ask = (type: string, more?: object) => core._request({ type, channel, ...more });

    const hold = (name: string, listener: (value: any) => void): () => void => {
        tell(Ev.Retain, 1);
        return core._release(wish(Ev.Retain, -1), listen(name, listener));
    };

    return {
        name: channel,
        get state() { return kept()?._status ?? 'idle'; },
        subscribe: (event: unknown, listener?: any) => hold('message', listener
            ? (message) => { if (message.event === event) { listener(message); } }
            : event as (message: Message) => void),
        unsubscribe: () => tell(Ev.Drop, 0),
        publish: (data: unknown, more?: PublishOptions) => ask('publish', { data, ...more }),
        history: (more) => ask('history.get', more),
        ready: () => new Promise((resolve, reject) => {
            const look = (): void => {
                const fault = core._state()._view.error ?? kept()?._error;
                if (kept()?._status === 'live') { resolve(); } else if (fault) { reject(toError(fault)); } else { return; }
                stops.forEach((stop) => stop());
            };
            const stops = [listen('state', look), core._listen('', 'state', look)];
            look();
        }),
        presence: {
            get members() { return kept()?._members ?? kNone; },
            get others() { return kept()?._others ?? kNone; },
            get self() { return kept()?._members.find((one) => one.userId === core._state()._view.userId); },
            get count() { return kept()?._count ?? 0; },
            enter: (data) => {
                tell(Ev.Enter, 1, data);
                return core._release(wish(Ev.Enter, -1));
            },
            update: (data) => tell(Ev.Enter, 0, data),
            leave: () => tell(Ev.Leave, 0),
            get: () => ask('presence.get'),
            on: (listener) => hold('presence', listener),
        },
        typing: {
            get users() { return kept()?._typing ?? kNone; },
            keystroke: () => tell(Ev.Key, 1),
            stop: () => tell(Ev.Key, 0),
            on: (listener) => hold('typing', listener),
        },
        latest: {
            get: (key = '') => kept()?._latest.get(key),
            get values() { return kept()?._latest ?? kNoValues; },
            on: (listener) => hold('message', listener),
        },
        on: listen,
    };
}

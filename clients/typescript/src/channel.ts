// A channel as its users see it: messages, presence, typing, latest values. All of it is read from the
// machine's state; whoever listens holds the subscription, and the last one to stop lets go after a moment.
import type { Channel } from './api';
import type { Core } from './core';
import { StarlingError } from './error';
import { blank } from './machine_channel';
import { Ev, type Channel as Kept, type Wish } from './machine_types';
import type { ChannelOptions, PublishOptions } from './types';

// Taken as it is now: the caller may change it before it is sent, and what is no JSON is the caller's to hear of.
const copy = (data: unknown): unknown => data && JSON.parse(JSON.stringify(data));

export function makeChannel(core: Core, channel: string, options: ChannelOptions | undefined): Channel {
    const none = blank(channel);
    const kept = (): Kept => core._state()._channels.get(channel) ?? none;
    const listen = (name: string, listener: (value: any) => void) => core._listen(channel, name, listener);
    const wish = (_t: Wish['_t'], _by: number, _data?: unknown): Wish => ({ _t, _channel: channel, _by, _data: copy(_data), _options: options });
    const tell = (...words: Parameters<typeof wish>) => core._tell(wish(...words));
    const ask = (type: string, more?: object) => core._request({ type, channel, ...more });

    // Held until the function that is returned is called, and a moment longer.
    const hold = (what: Ev.Retain | Ev.Enter, data?: unknown, stop?: () => void) => {
        tell(what, 1, data);
        let held = true;
        return () => {
            if (held) { core._tell({ _t: Ev.Later, _wish: wish(what, -1) }); }
            held = false;
            stop?.();
        };
    };
    const follow = (name: string, listener: (value: any) => void) => hold(Ev.Retain, undefined, listen(name, listener));

    return {
        name: channel,
        get state() { return kept()._status; },
        subscribe: (event: any, listener?: any) =>
            follow('message', listener ? (message) => message.event === event && listener(message) : event),
        unsubscribe: () => { tell(Ev.Retain, -Infinity); tell(Ev.Enter, -Infinity); },
        publish: async (data: unknown, more?: PublishOptions) => ask('publish', { ...more, data: copy(data) }),
        history: (more) => ask('history.get', more),
        ready: () => new Promise((resolve, reject) => {
            const look = (): void => {
                const fault = core._state()._view.error ?? kept()._error;
                if (kept()._status === 'live') { resolve(); } else if (fault) { reject(new StarlingError(fault)); } else { return; }
                stops.forEach((stop) => stop());
            };
            const stops = [listen('state', look), core._listen('', 'state', look), hold(Ev.Retain)];
            look();
        }),
        presence: {
            get members() { return kept()._members; },
            get others() { return kept()._others; },
            get self() { return kept()._members.find((one) => one.userId === core._state()._view.userId); },
            get count() { return kept()._count; },
            enter: (data) => hold(Ev.Enter, data),
            update: (data) => tell(Ev.Enter, 0, data),
            leave: () => tell(Ev.Enter, -Infinity),
            get: () => ask('presence.get'),
            on: (listener) => follow('presence', listener),
        },
        typing: {
            get users() { return kept()._typing; },
            keystroke: () => tell(Ev.Key, 1),
            stop: () => tell(Ev.Key, 0),
            on: (listener) => follow('typing', listener),
        },
        latest: {
            get: (key = '') => kept()._latest.get(key),
            get values() { return kept()._latest; },
            on: (listener) => follow('message', listener),
        },
        on: listen,
    };
}

// The user's notifications as a list with a mark; what is after the mark is unread, on all devices.
import type { Notifications } from './api';
import type { Core } from './core';
import { Ev } from './machine_types';

export function makeNotifications(core: Core): Notifications {
    const state = core._state;
    return {
        get list() { return state()._notes; },
        get unread() { return state()._notes.filter((note) => note.offset > state()._acked).length; },
        isRead: (note) => note.offset <= state()._acked,
        acknowledge: async (upTo) => {
            const offset = (upTo as any)?.offset ?? upTo ?? state()._notes.at(-1)?.offset;
            if (offset) { await core._request({ type: 'notification.ack', offset }); }
        },
        on: (listener) => {
            const stop = core._listen('', 'notifications', listener);
            if (!state()._view.error) { core._tell({ _t: Ev.Connect }); }
            return stop;
        },
    };
}

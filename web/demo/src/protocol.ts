// The frames of the native protocol that this page uses, as docs/PROTOCOL.md has them.

export interface Position { epoch: string; offset: number; id: string }

export interface Member { userId: string; connectedAt: number; data?: unknown }

export interface Message {
    channel: string;
    event?: string;
    data?: unknown;  // Absent where the publisher left this connection out: only the position moves.
    id?: string;
    offset?: number;
    userId?: string;
    time: number;
}

export interface Notification { data: unknown; id: string; offset: number; time: number }

export interface Notifications extends Position { recovered: boolean; messages: Notification[] }

interface PresenceSet { count: number; users?: Member[]; stale?: boolean }
interface Update { userId: string; data?: unknown }
interface Leave { userId: string }

export interface Connected {
    type: 'connected';
    connectionId: string;
    userId: string;
    nodeId: string;
    pingInterval: number;
    resume: string;
    resumed: boolean;
    notifications: Notifications;
}

export interface Subscribed {
    type: 'subscribed';
    channel: string;
    position?: Position;
    recovered?: boolean;
    messages?: Message[];
    presence?: PresenceSet;
    typing?: string[];
    stale?: boolean;
}

export interface HistoryPage { type: 'history'; channel: string; position?: Position; messages: Message[] }

export interface ErrorFrame {
    type: 'error';
    code: string;
    message: string;
    channel?: string;
    retryable: boolean;
}

export type ServerFrame =
    | Connected
    | Subscribed
    | HistoryPage
    | ErrorFrame
    | ({ type: 'message' } & Message)
    | ({ type: 'presence'; channel: string } & PresenceSet)
    | ({ type: 'presence.join'; channel: string } & Member)
    | ({ type: 'presence.update'; channel: string } & Update)
    | ({ type: 'presence.leave'; channel: string } & Leave)
    | { type: 'presence.diff'; channel: string; count: number; joins: Member[]; updates: Update[]; leaves: Leave[] }
    | { type: 'presence.count'; channel: string; count: number }
    | { type: 'typing.start' | 'typing.stop'; channel: string; userId: string }
    | ({ type: 'notification' } & Notification)
    | { type: 'notification.acked'; offset: number }
    | ({ type: 'notifications' } & Notifications)
    | { type: 'unsubscribed'; channel: string; code?: string; reason?: string }
    | { type: 'published'; channel: string; messageId: string }
    | { type: 'reconnect'; delay: number }
    | { type: 'ok' | 'pong' };

// 1000 and whatever is not listed: the gateway means it, so the client stays away.
const kReconnectCodes = new Set([1001, 1006, 1011, 1012, 1013, 4002, 4004, 4006, 4007, 4008, 4009, 4010]);

export function may_reconnect(code: number): boolean { return kReconnectCodes.has(code); }

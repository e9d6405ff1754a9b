// One user's connection to the gateway: connects, states its subscriptions, comes back by itself.
//
//   connecting --connected--> online --reconnect frame--> online (a second link takes over, then the first closes)
//       ^                        |
//       +-- full jitter -- waiting <-- broken, or a close code that allows it
//                                \---> closed: any other close code; only the person starts it again
import { Channel, type ChannelOptions } from './channel';
import { may_reconnect, type Connected, type ErrorFrame, type ServerFrame } from './protocol';

export type State =
    | { name: 'connecting'; attempt: number }
    | { name: 'online'; nodeId: string }
    | { name: 'waiting'; until: number }
    | { name: 'closed'; code: number; reason: string };

export interface ClientOptions {
    url: string;
    user: string;
    on_state: (state: State) => void;
    on_connected: (frame: Connected) => void;
    on_frame: (frame: ServerFrame) => void;   // Frames of no channel, and each message as it is seen.
    on_round_trip: (ms: number) => void;
}

type Reply = { resolve: (frame: ServerFrame) => void; reject: (error: RequestError) => void };

interface Link {
    socket: WebSocket;
    replies: Map<number, Reply>;
    pinged_at: number | undefined;
    timer: ReturnType<typeof setTimeout> | undefined;
}

export class RequestError extends Error {
    constructor(readonly code: string, message: string, readonly retryable: boolean) { super(message); }
}

const kBackoffBaseMs = 500;
const kBackoffMaxMs = 20_000;
const kConnectTimeoutMs = 10_000;
const kPingEveryMs = 5_000;
const kPongTimeoutMs = 10_000;

export class Client {
    private readonly channels = new Map<string, Channel>();
    private link: Link | undefined;           // The one whose frames count.
    private next: Link | undefined;           // Coming up, beside a link that is going or in place of none.
    private attempt = 0;
    private last_id = 0;
    private wait: ReturnType<typeof setTimeout> | undefined;

    constructor(private readonly options: ClientOptions) {
        window.addEventListener('online', () => { if (this.wait !== undefined) { this.open(); } });
        setInterval(() => this.check_pulse(), kPingEveryMs);
    }

    get online(): boolean { return this.link !== undefined; }

    open(): void {
        clearTimeout(this.wait);
        this.wait = undefined;
        if (this.next !== undefined) { return; }
        if (this.link === undefined) { this.options.on_state({ name: 'connecting', attempt: this.attempt }); }
        const socket = new WebSocket(this.options.url, 'starling.v1.json');
        const link: Link = { socket, replies: new Map(), pinged_at: undefined, timer: undefined };
        this.next = link;
        link.timer = setTimeout(() => this.abandon(link), kConnectTimeoutMs);
        socket.onopen = () => void this.hello(link);
        socket.onmessage = (event) => this.on_text(link, event.data);
        socket.onclose = (event) => this.on_close(link, event.code, event.reason);
    }

    channel(name: string, options: ChannelOptions): Channel {
        const channel = new Channel(name, options);
        this.channels.set(name, channel);
        if (this.link !== undefined) { void this.subscribe(this.link, channel); }
        return channel;
    }

    // For what may be lost, such as a cursor. Says whether it went out.
    send(frame: Record<string, unknown>): boolean {
        if (this.link?.socket.readyState !== WebSocket.OPEN) { return false; }
        this.link.socket.send(JSON.stringify(frame));
        return true;
    }

    request(frame: Record<string, unknown>): Promise<ServerFrame> {
        if (this.link === undefined) { return Promise.reject(new RequestError('offline', 'not connected', true)); }
        return this.ask(this.link, frame);
    }

    private ask(link: Link, frame: Record<string, unknown>): Promise<ServerFrame> {
        if (link.socket.readyState !== WebSocket.OPEN) {
            return Promise.reject(new RequestError('offline', 'not connected', true));
        }
        const id = ++this.last_id;
        const reply = new Promise<ServerFrame>((resolve, reject) => link.replies.set(id, { resolve, reject }));
        link.socket.send(JSON.stringify({ ...frame, id }));
        return reply;
    }

    // No notification position: the answer is then all that the user has not acknowledged, on whatever
    // device, which is what an unread count is. A position would give what this tab missed instead.
    private async hello(link: Link): Promise<void> {
        const key = `starling.resume:${this.options.user}`;
        const resume = sessionStorage.getItem(key);
        try {
            const frame = await this.ask(link, {
                type: 'connect', user: this.options.user, ...(resume === null ? {} : { resume }),
            });
            if (frame.type === 'connected') { sessionStorage.setItem(key, frame.resume); await this.take_over(link, frame); }
        } catch { /* The close that follows says what to do. */ }
    }

    private async take_over(link: Link, frame: Connected): Promise<void> {
        clearTimeout(link.timer);
        const old = this.link;
        this.link = link;
        this.next = undefined;
        this.attempt = 0;
        // The old link is silent from here, and holds the presence until the new one has it.
        const subscribed = [...this.channels.values()].map((channel) => this.subscribe(link, channel));
        this.options.on_connected(frame);
        this.options.on_state({ name: 'online', nodeId: frame.nodeId });
        this.check_pulse();
        await Promise.all(subscribed);
        old?.socket.close(1000);
    }

    private async subscribe(link: Link, channel: Channel): Promise<void> {
        try {
            await this.ask(link, channel.subscribe_frame());
        } catch (error) {
            const again = error instanceof RequestError && error.retryable && error.code !== 'offline';
            if (again) { setTimeout(() => { if (this.link === link) { void this.subscribe(link, channel); } }, this.backoff()); }
        }
    }

    private on_text(link: Link, text: unknown): void {
        if (link !== this.link && link !== this.next) { return; }
        if (typeof text !== 'string') { return; }
        const frame = JSON.parse(text) as ServerFrame & { id?: unknown };
        // State first, then whoever waits for the reply.
        if (frame.type === 'subscribed') { this.channels.get(frame.channel)?.on_subscribed(frame); }
        const reply = typeof frame.id === 'number' ? link.replies.get(frame.id) : undefined;
        if (reply !== undefined) {
            link.replies.delete(frame.id as number);
            if (frame.type === 'error') { reply.reject(request_error(frame)); } else { reply.resolve(frame); }
            return;
        }
        this.on_frame(link, frame);
    }

    private on_frame(link: Link, frame: ServerFrame): void {
        switch (frame.type) {
            case 'reconnect': setTimeout(() => { if (this.link === link) { this.open(); } }, frame.delay); return;
            case 'unsubscribed': {
                const channel = this.channels.get(frame.channel);
                channel?.forget();
                if (channel !== undefined && frame.code === 'unrecoverable') { void this.subscribe(link, channel); }
                return;
            }
            case 'message': this.options.on_frame(frame); break;
            case 'notification': case 'notification.acked': case 'notifications': case 'error':
                this.options.on_frame(frame);
                return;
            default: break;
        }
        if ('channel' in frame && frame.channel !== undefined) { this.channels.get(frame.channel)?.on_frame(frame); }
    }

    private on_close(link: Link, code: number, reason: string): void {
        clearTimeout(link.timer);
        const gone = new RequestError('offline', 'the connection closed', true);
        for (const reply of link.replies.values()) { reply.reject(gone); }
        link.replies.clear();
        if (link === this.next) {
            this.next = undefined;
        } else if (link === this.link) {
            this.link = undefined;
            for (const channel of this.channels.values()) { channel.on_lost(); }
            if (this.next !== undefined) { this.options.on_state({ name: 'connecting', attempt: 0 }); return; }
        } else {
            return;
        }
        if (!may_reconnect(code)) {
            if (this.link === undefined) { this.options.on_state({ name: 'closed', code, reason }); }
            return;
        }
        clearTimeout(this.wait);
        const delay = this.backoff();
        this.attempt += 1;
        this.wait = setTimeout(() => this.open(), delay);
        if (this.link === undefined) { this.options.on_state({ name: 'waiting', until: Date.now() + delay }); }
    }

    // Full jitter: many clients that lost one node come back spread out, not in waves.
    private backoff(): number { return Math.random() * Math.min(kBackoffMaxMs, kBackoffBaseMs * 2 ** this.attempt); }

    // A browser does not show the server's pings, so a silent network is found by our own.
    private check_pulse(): void {
        const link = this.link;
        if (link === undefined) { return; }
        if (link.pinged_at !== undefined) {
            if (performance.now() - link.pinged_at > kPongTimeoutMs) { this.abandon(link); }
            return;
        }
        const start = performance.now();
        link.pinged_at = start;
        this.ask(link, { type: 'ping' }).then(() => {
            link.pinged_at = undefined;
            this.options.on_round_trip(performance.now() - start);
        }, () => undefined);
    }

    // Closed without a code, so the presence lingers; not waiting for a peer that may be gone.
    private abandon(link: Link): void {
        link.socket.onclose = null;
        link.socket.close();
        this.on_close(link, 1006, '');
    }
}

function request_error(frame: ErrorFrame): RequestError {
    return new RequestError(frame.code, frame.message, frame.retryable);
}

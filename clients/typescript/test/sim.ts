// A gateway and a network out of nothing, on virtual time. The gateway keeps the rules of docs/PROTOCOL.md that
// a client relies on; the network delays, cuts and swallows as the seed wants.
export class Random {
    constructor(private seed: number) {}
    next(): number {
        this.seed = (this.seed + 0x6d2b79f5) | 0;
        let t = Math.imul(this.seed ^ (this.seed >>> 15), 1 | this.seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    }
    below(n: number): number { return Math.floor(this.next() * n); }
    chance(p: number): boolean { return this.next() < p; }
}

interface Due { at: number; order: number; run: () => void }

export class Time {
    now = 1_700_000_000_000;
    private queue: Due[] = [];
    private order = 0;

    at(delay: number, run: () => void): Due {
        const due = { at: this.now + Math.max(0, delay), order: ++this.order, run };
        this.queue.push(due);
        return due;
    }
    cancel(due: Due | undefined): void { this.queue = this.queue.filter((one) => one !== due); }

    // Runs the next thing that is due until `end`; says whether there was one.
    turn(end: number): boolean {
        let first: Due | undefined;
        for (const one of this.queue) {
            if (!first || one.at < first.at || (one.at === first.at && one.order < first.order)) { first = one; }
        }
        if (!first || first.at > end) { this.now = Math.max(this.now, end); return false; }
        this.cancel(first);
        this.now = Math.max(this.now, first.at);
        first.run();
        return true;
    }
    run(ms: number): void { const end = this.now + ms; while (this.turn(end)) { /* All in order. */ } }
}

export type Json = any;

export interface Wire { toClient(frame: Json): void; closeClient(code: number, reason?: string): void }

export interface Connection {
    wire: Wire;
    id: string;
    user: string | undefined;
    channels: Map<string, { present: boolean }>;
    open: boolean;
}

interface Room { epoch: string; history: boolean; offset: number; log: Json[]; last: string; keys: Map<string, Json>; people: Map<string, Json>; conflate: boolean; latest: Map<string, Json> }

export class Gateway {
    rooms = new Map<string, Room>();
    connections = new Set<Connection>();
    received: Json[] = [];
    up = true;
    historySize = 100;
    expiresIn: number | undefined;
    notes: Json[] = [];
    acked = 0;
    // A chance for an error in place of an answer.
    refuse: (frame: Json) => Json | undefined = () => undefined;
    // Everything that was published in a channel, in order, with the epoch: the truth that tests compare with.
    truth = new Map<string, Json[]>();
    private ids = 0;
    private life = 0;

    constructor(private time: Time, private kind: (channel: string) => 'history' | 'plain' | 'latest' = () => 'history') {}

    room(channel: string): Room {
        let room = this.rooms.get(channel);
        if (!room) {
            const kind = this.kind(channel);
            room = { epoch: `e${++this.ids}`, history: kind === 'history', offset: 0, log: [], last: '', keys: new Map(), people: new Map(), conflate: kind === 'latest', latest: new Map() };
            this.rooms.set(channel, room);
        }
        return room;
    }

    accept(wire: Wire): Connection {
        const connection: Connection = { wire, id: `c${++this.ids}`, user: undefined, channels: new Map(), open: true };
        this.connections.add(connection);
        return connection;
    }

    close(connection: Connection, code: number, reason = ''): void {
        if (!connection.open) { return; }
        this.gone(connection);
        connection.wire.closeClient(code, reason);
    }

    // The connection ended, whoever ended it. Presence does not linger here.
    gone(connection: Connection): void {
        if (!connection.open) { return; }
        connection.open = false;
        for (const channel of [...connection.channels.keys()]) { this.unsubscribe(connection, channel); }
        this.connections.delete(connection);
    }

    publish(channel: string, data: Json, from?: Connection, frame: Json = {}): Json {
        const room = this.room(channel);
        const known = frame.key && room.keys.get(frame.key);
        if (known) { return { ...known, duplicate: true }; }
        const message: Json = { data, id: `m${++this.ids}`, time: this.time.now };
        if (frame.event) { message.event = frame.event; }
        if (from?.user) { message.userId = from.user; }
        if (room.conflate) { message.conflateKey = frame.conflateKey ?? ''; }
        if (room.history) {
            message.offset = ++room.offset;
            room.last = message.id;
            room.log.push(message);
            if (room.log.length > this.historySize) { room.log.shift(); }
        }
        if (room.conflate) { room.latest.set(message.conflateKey, message); }
        this.truth.set(channel, [...this.truth.get(channel) ?? [], { ...message, epoch: room.epoch }]);
        const result: Json = { messageId: message.id, ...(room.history && { epoch: room.epoch, offset: message.offset }) };
        if (frame.key) { room.keys.set(frame.key, result); }
        for (const to of this.connections) {
            if (!to.channels.has(channel)) { continue; }
            if (to === from && frame.echo === false) {
                if (room.history) { const { data: _, ...rest } = message; to.wire.toClient({ type: 'message', channel, ...rest }); }
            } else {
                to.wire.toClient({ type: 'message', channel, ...message });
            }
        }
        return result;
    }

    notify(data: Json): void {
        const note = { data, id: `n${++this.ids}`, offset: this.notes.length + 1, time: this.time.now };
        this.notes.push(note);
        for (const to of this.connections) { if (to.user) { to.wire.toClient({ type: 'notification', ...note }); } }
    }

    // The history is gone: a new epoch, and who listens must begin anew.
    reset(channel: string): void {
        const room = this.room(channel);
        Object.assign(room, { epoch: `e${++this.ids}`, offset: 0, log: [], last: '' });
        for (const to of this.connections) {
            if (to.channels.delete(channel)) { to.wire.toClient({ type: 'unsubscribed', channel, code: 'unrecoverable' }); }
        }
    }

    // Started anew, with nothing of what it knew; the connections are gone without a word.
    forget(): void {
        for (const one of this.connections) { one.open = false; }
        this.connections.clear();
        this.rooms.clear();
        this.notes = [];
        this.life += 1;
    }

    // Of two connections of a user the latest write counts.
    members(channel: string): Json[] {
        const { people } = this.room(channel);
        const users = new Set([...this.connections].filter((one) => one.channels.get(channel)?.present).map((one) => one.user!));
        return [...users].map((userId) => ({ userId, connectedAt: 1, ...(people.get(userId) !== undefined && { data: people.get(userId) }) }));
    }

    private write(channel: string, userId: string, data: Json): void {
        if (data === true || JSON.stringify(data) === JSON.stringify(this.room(channel).people.get(userId))) { return; }
        this.room(channel).people.set(userId, data);
        this.tell(channel, { type: 'presence.update', channel, userId, data });
    }

    private tell(channel: string, frame: Json, but?: Connection): void {
        for (const to of this.connections) { if (to !== but && to.channels.has(channel)) { to.wire.toClient(frame); } }
    }

    receive(from: Connection, frame: Json): void {
        if (!from.open) { return; }
        this.received.push(frame);
        const answer = (reply: Json): void => {
            if (frame.id !== undefined) { from.wire.toClient({ ...reply, id: frame.id }); } else if (reply.type === 'error') { from.wire.toClient(reply); }
        };
        const error = (code: string, retryable = false): void => answer({ type: 'error', code, message: code, retryable, ...(frame.channel && { channel: frame.channel }) });
        if (frame.type === 'connect') {
            from.user = frame.user ?? frame.token ?? 'guest';
            const messages = this.notes.filter((note) => note.offset > this.acked);
            answer({
                type: 'connected', connectionId: from.id, userId: from.user, nodeId: 'n', serverTime: this.time.now, pingInterval: 25, resume: 'r', resumed: false,
                ...(this.expiresIn && { expiresAt: this.time.now + this.expiresIn }),
                notifications: { epoch: `n${this.life}`, offset: this.notes.length, id: this.notes.at(-1)?.id ?? '', recovered: true, messages },
            });
            return;
        }
        if (!from.user) { throw new Error(`a frame before connect: ${frame.type}`); }
        const no = this.refuse(frame);
        if (no) { answer({ type: 'error', message: no.code, ...(frame.channel && { channel: frame.channel }), ...no }); return; }
        const channel: string = frame.channel;
        const mine = from.channels.get(channel);
        switch (frame.type) {
            case 'ping': answer({ type: 'pong' }); if (frame.id === undefined) { from.wire.toClient({ type: 'pong' }); } break;
            case 'subscribe': if (mine) { error('already_subscribed'); } else { this.subscribe(from, frame, answer); } break;
            case 'unsubscribe': if (mine) { this.unsubscribe(from, channel); } else { error('not_subscribed'); } break;
            case 'publish': answer({ type: 'published', channel, ...this.publish(channel, frame.data, from, frame) }); break;
            case 'typing': case 'presence.update':
                if (frame.type === 'typing') {
                    if (!mine) { error('not_subscribed'); break; }
                    for (const to of this.connections) {
                        if (to.user !== from.user && to.channels.has(channel)) { to.wire.toClient({ type: frame.active === false ? 'typing.stop' : 'typing.start', channel, userId: from.user }); }
                    }
                } else {
                    if (!mine?.present) { error('not_present'); break; }
                    this.write(channel, from.user, frame.data);
                }
                answer({ type: 'ok' });
                break;
            case 'history.get': answer({ type: 'history', channel, position: this.position(channel), messages: this.room(channel).log.slice(-(frame.limit ?? 100)) }); break;
            case 'presence.get': answer({ type: 'presence', channel, count: this.members(channel).length, users: this.members(channel) }); break;
            case 'notification.ack':
                this.acked = Math.max(this.acked, frame.offset);
                for (const to of this.connections) { if (to !== from) { to.wire.toClient({ type: 'notification.acked', offset: frame.offset }); } }
                answer({ type: 'ok' });
                break;
            case 'refresh': answer({ type: 'refreshed', expiresAt: this.time.now + (this.expiresIn ?? 0) }); break;
            default: throw new Error(`unknown frame ${frame.type}`);
        }
    }

    private position(channel: string): Json {
        const room = this.room(channel);
        return { epoch: room.epoch, offset: room.offset, id: room.last };
    }

    private subscribe(from: Connection, frame: Json, answer: (reply: Json) => void): void {
        const { channel, recover, presence } = frame;
        const room = this.room(channel);
        const reply: Json = { type: 'subscribed', channel };
        if (room.history) { reply.position = this.position(channel); }
        if (recover) {
            const missed = room.log.filter((message) => message.offset > recover.offset);
            const reason = !room.history ? 'gap' : recover.epoch !== room.epoch ? 'epoch' : recover.offset > room.offset ? 'fork'
                : missed.length < room.offset - recover.offset ? 'gap' : undefined;
            reply.recovered = !reason;
            if (reason) { reply.reason = reason; } else { reply.messages = missed; }
        }
        if (room.conflate) { reply.messages = [...room.latest.values()]; }
        const before = this.members(channel);
        const present = presence !== undefined && presence !== false;
        const entered = present && !before.some((one) => one.userId === from.user);
        if (entered && presence !== true) { room.people.set(from.user!, presence); } else if (present) { this.write(channel, from.user!, presence); }
        from.channels.set(channel, { present });
        const users = this.members(channel);
        reply.presence = { count: users.length, users };
        answer(reply);
        if (entered) { this.tell(channel, { type: 'presence.join', channel, ...users.find((one) => one.userId === from.user) }, from); }
    }

    private unsubscribe(from: Connection, channel: string): void {
        const before = this.members(channel).length;
        from.channels.delete(channel);
        if (this.members(channel).length < before) {
            this.room(channel).people.delete(from.user!);
            this.tell(channel, { type: 'presence.leave', channel, userId: from.user });
        }
    }
}

// A cable between one client and the gateway: in order, late, and cut when the test says so.
export class Cable {
    private clientAt = 0;
    private serverAt = 0;
    private connection: Connection | undefined;
    cut = false;
    // Swallows without a word, as a network does that went away.
    dead = false;

    constructor(private time: Time, private gateway: Gateway, private delay: () => number,
                private on: { open(): void; frame(frame: Json): void; closed(code: number, reason: string): void }) {
        time.at(delay(), () => {
            if (this.cut) { return; }
            if (!gateway.up) { this.lose(1006); return; }
            this.connection = gateway.accept({
                toClient: (frame) => this.later('clientAt', () => on.frame(JSON.parse(JSON.stringify(frame)))),
                closeClient: (code, reason = '') => this.later('clientAt', () => { this.cut = true; on.closed(code, reason); }),
            });
            this.later('clientAt', () => on.open());
        });
    }

    private later(side: 'clientAt' | 'serverAt', run: () => void): void {
        if (this.dead) { return; }
        this[side] = Math.max(this[side], this.time.now + this.delay());
        this.time.at(this[side] - this.time.now, () => { if (!this.cut && !this.dead) { run(); } });
    }

    send(frame: Json): void {
        this.later('serverAt', () => { if (this.connection) { this.gateway.receive(this.connection, frame); } });
    }

    // Closed by the client: the gateway learns it in order.
    close(): void {
        const connection = this.connection;
        this.serverAt = Math.max(this.serverAt, this.time.now + this.delay());
        this.time.at(this.serverAt - this.time.now, () => { if (connection) { this.gateway.gone(connection); } });
        this.clientDone();
    }

    private clientDone(): void { this.on = { open() {}, frame() {}, closed() {} }; }

    // Broken: what is on its way is lost on both sides.
    lose(code = 1006): void {
        if (this.cut) { return; }
        this.cut = true;
        if (this.connection) { this.gateway.gone(this.connection); }
        this.on.closed(code, '');
    }

    kill(): void {
        this.dead = true;
        if (this.connection) { this.gateway.gone(this.connection); }
    }
}

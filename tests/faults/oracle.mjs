// A client as it should be, who remembers all that it saw: reconnects by the rules of the protocol, subscribes again with
// its positions, and finds out by itself what must never be: a message twice, out of order or missing without a word, a leave
// before a join.
import WebSocket from 'ws';
import { assert, pause } from '../protocol/harness.mjs';

const comesBack = (code) => ![1000, 4000, 4001, 4003, 4005].includes(code) && !(code >= 4100);

export class Person {
    constructor(cluster, user, { channels = [], present = true, node = 0, roam = true, watch, within = 150 } = {}) {
        this.cluster = cluster;
        this.user = user;
        this.node = node;
        this.roam = roam;
        this.present = present;
        this.watch = watch;
        this.within = within;                // Milliseconds over which a crowd of them comes back.
        this.stopped = false;
        this.faults = [];
        this.connects = 0;
        this.rooms = new Map(channels.map((channel) => [channel, this.room(channel)]));
    }

    room(channel) {
        return { channel, position: undefined, members: null, events: [], messages: [], ids: new Set(), gaps: [], stale: false };
    }

    start() {
        this.open();
        return this.ready();
    }

    open(delay = 0) {
        setTimeout(() => {
            if (this.stopped) return;
            const server = this.cluster.pick(this.node, this.roam);
            if (!server) {
                this.open(100);
                return;
            }
            const ws = new WebSocket(`ws://${server.address}/v1/ws`, ['starling.v1.json'], { perMessageDeflate: false });
            const link = { ws, server, opened: false, subscribed: new Set() };
            ws.on('error', () => {});
            ws.on('open', () => ws.send(JSON.stringify({ type: 'connect', user: this.user, resume: this.resume })));
            ws.on('message', (bytes) => this.hear(link, JSON.parse(bytes.toString())));
            ws.on('close', (code) => {
                if (this.next === link) this.next = undefined;
                if (this.link === link) this.link = undefined;
                if (link.replaced || this.stopped) return;
                if (this.link || this.next) return;
                if (this.roam) this.node += 1;
                if (comesBack(code)) this.open(20 + Math.random() * this.within);
                else this.faults.push(`closed for good with ${code}`);
            });
            this.next = link;
        }, delay);
    }

    hear(link, frame) {
        if (frame.type === 'connected') {
            this.connects += 1;
            this.resume = frame.resume;
            // A new connection first, then the old one goes.
            const old = this.link;
            this.link = link;
            this.next = undefined;
            for (const room of this.rooms.values()) this.ask(link, room);
            // It goes when the new one is everywhere where it was, and without a code, as our clients do: where the new node is out of
            // reach of Redis, a farewell on the old one would be a leave.
            if (old && old !== link) {
                old.replaced = true;
                link.before = old;
                this.replace(link);
                setTimeout(() => old.ws.close(), 5000);
            }
            return;
        }
        if (frame.type === 'reconnect') {
            if (this.roam) this.node += 1;
            link.going = true;
            this.open(frame.delay);
            return;
        }
        // An answer is one, even on the connection that is about to go.
        if (this.waiting?.has(frame.id)) {
            this.waiting.get(frame.id)(frame);
            return;
        }
        if (link !== this.link) return;
        const room = this.rooms.get(frame.channel);
        if (frame.type === 'error' && room && !link.subscribed.has(frame.channel)) {
            this.refused = `refused with ${frame.code}: ${frame.message}`;
            setTimeout(() => this.link === link && this.ask(link, room), 100);
            return;
        }
        if (!room) return;
        const at = Date.now();
        switch (frame.type) {
            case 'subscribed':
                link.subscribed.add(frame.channel);
                this.replace(link);
                room.stale = frame.stale ?? false;
                if (frame.recovered === false) {
                    room.gaps.push({ at, reason: frame.reason });
                    room.cut = true;
                }
                if (frame.recovered === true) for (const message of frame.messages ?? []) this.take(room, message);
                else if (frame.position) room.position = frame.position;
                if (frame.recovered === true && frame.position && frame.position.offset !== room.position.offset) {
                    this.faults.push(`${room.channel}: recovered, but ends at ${room.position.offset} of ${frame.position.offset}`);
                }
                if (frame.presence?.users) {
                    const now = new Set(frame.presence.users.map((u) => u.userId));
                    room.snapshots = (room.snapshots ?? 0) + 1;
                    room.members = now;
                    room.count = frame.presence.count;
                }
                break;
            case 'unsubscribed':
                link.subscribed.delete(frame.channel);
                if (frame.code === 'unrecoverable') {
                    room.gaps.push({ at, reason: 'unrecoverable' });
                    this.ask(link, room);
                }
                break;
            case 'message':
                this.take(room, frame, at);
                break;
            case 'presence.join':
                this.change(room, 'join', frame.userId, at);
                break;
            case 'presence.leave':
                this.change(room, 'leave', frame.userId, at);
                break;
            case 'presence.diff':
                for (const entry of frame.joins) this.change(room, 'join', entry.userId, at);
                for (const entry of frame.leaves) this.change(room, 'leave', entry.userId ?? entry, at);
                break;
            default:
        }
    }

    replace(link) {
        if (!link.before || link.subscribed.size < this.rooms.size) return;
        link.before.ws.close();
        link.before = undefined;
    }

    ask(link, room) {
        const frame = { type: 'subscribe', id: ++this.cluster.ids, channel: room.channel };
        if (this.present) frame.presence = true;
        if (this.watch) frame.watch = this.watch;
        if (room.position) frame.recover = room.position;
        if (link.ws.readyState === WebSocket.OPEN) link.ws.send(JSON.stringify(frame));
    }

    take(room, message, at = Date.now()) {
        if (message.offset === undefined) {
            room.messages.push({ data: message.data, at });
            return;
        }
        const expected = (room.position?.offset ?? 0) + 1;
        if (message.offset !== expected) this.faults.push(`${room.channel}: offset ${message.offset} after ${expected - 1}`);
        room.position = { epoch: room.position?.epoch, offset: message.offset, id: message.id };
        if (message.data === undefined) return;
        if (room.ids.has(message.id)) this.faults.push(`${room.channel}: message ${message.id} twice`);
        room.ids.add(message.id);
        room.messages.push({ id: message.id, offset: message.offset, data: message.data, at });
    }

    change(room, kind, user, at) {
        room.events.push({ kind, user, at });
        if (!room.members) return;
        if (kind === 'join') {
            if (room.members.has(user)) this.faults.push(`${room.channel}: ${user} joined twice`);
            room.members.add(user);
        } else {
            if (!room.members.delete(user)) this.faults.push(`${room.channel}: ${user} left twice`);
        }
    }

    // One publish with its key, again until it is answered well.
    async publish(channel, data, { tries = 100 } = {}) {
        const key = `${this.user}-${++this.cluster.ids}`;
        this.waiting ??= new Map();
        let sent = 0;
        for (let n = 1; n <= tries; n += 1) {
            const link = this.link;
            if (link?.ws.readyState === WebSocket.OPEN) {
                const id = ++this.cluster.ids;
                sent += 1;
                const reply = await new Promise((done) => {
                    const timer = setTimeout(() => done(undefined), 2000);
                    this.waiting.set(id, (frame) => {
                        clearTimeout(timer);
                        done(frame);
                    });
                    link.ws.send(JSON.stringify({ type: 'publish', id, channel, data, key }));
                });
                this.waiting.delete(id);
                if (reply?.type === 'published') return { ...reply, tries: n, sent };
            }
            await pause(100);
        }
        throw Object.assign(new Error(`${this.user} could not publish to ${channel}`), { cluster: this.cluster });
    }

    ready() {
        const there = () => this.link && this.link.subscribed.size === this.rooms.size;
        return this.cluster.until(there, 15000, () => `${this.user} is subscribed (${this.connects} connects, ${this.refused ?? 'nothing refused'}): ${this.link?.server.errors?.slice(-1500)}`);
    }

    // A clean goodbye, or a cable pulled.
    async leave() {
        this.stopped = true;
        this.link?.ws.close(1000);
    }

    cut({ back = true } = {}) {
        if (!back) this.stopped = true;
        this.link?.ws._socket?.destroy();
    }

    of(channel, kind, user, since = 0) {
        return this.rooms.get(channel).events.filter((e) => e.kind === kind && (!user || e.user === user) && e.at >= since);
    }

    members(channel) {
        return [...(this.rooms.get(channel).members ?? [])].sort();
    }

    check() {
        assert.deepEqual(this.faults, [], `${this.user} saw what must not be`);
    }
}

// Many people in processes of their own, for a process has no more descriptors than the machine gives it. They are those of
// oracle.mjs and report sums; `Swarm` starts them and tells them where the nodes are.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { eventually, pause } from '../protocol/harness.mjs';
import { Person } from './oracle.mjs';

export class Swarm {
    // `rooms`: how many channels each worker's people are spread over; without it they are connected only.
    static async start(cluster, { people, workers = 4, present = true, rooms = 0, roam = true }) {
        const swarm = new Swarm();
        swarm.cluster = cluster;
        swarm.serial = 0;
        swarm.waiting = new Map();
        swarm.workers = Array.from({ length: workers }, () => {
            const worker = fork(fileURLToPath(import.meta.url), ['--worker'], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
            worker.on('message', ({ serial, answer, error }) => {
                const { done, fail } = swarm.waiting.get(serial);
                if (error) fail(new Error(error));
                else done(answer);
            });
            return worker;
        });
        swarm.tell();
        await Promise.all(swarm.workers.map((worker, index) => swarm.askOne(worker, 'start', {
            index, people: people / workers, present, rooms: rooms / workers, roam,
        })));
        return swarm;
    }

    // Where the nodes are, and which of them takes connections.
    tell() {
        const nodes = this.cluster.nodes.map((node) => ({ address: node.address, down: node.down ?? false }));
        for (const worker of this.workers) worker.send({ what: 'nodes', nodes });
    }

    askOne(worker, what, words = {}) {
        const serial = ++this.serial;
        return new Promise((done, fail) => {
            this.waiting.set(serial, { done, fail });
            worker.send({ what, serial, ...words });
        }).finally(() => this.waiting.delete(serial));
    }

    ask(what, words) {
        return Promise.all(this.workers.map((worker) => this.askOne(worker, what, words)));
    }

    // The reports of all, added up.
    async report() {
        const sum = {};
        for (const report of await this.ask('report')) {
            for (const [name, value] of Object.entries(report)) {
                if (typeof value === 'number') sum[name] = (sum[name] ?? 0) + value;
                else sum[name] = [...(sum[name] ?? []), ...value];
            }
        }
        return sum;
    }

    async stop() {
        const gone = this.workers.map((worker) => new Promise((done) => worker.once('exit', done)));
        for (const worker of this.workers) worker.disconnect();
        await Promise.all(gone);
    }
}

// ---------------------------------------------------------------- in the worker

const cluster = {
    ids: 1000,
    nodes: [],
    pick(n, roam) {
        const alive = cluster.nodes.filter((node) => !node.down);
        if (!roam) return cluster.nodes[n % cluster.nodes.length];
        return alive[Math.floor(Math.random() * alive.length)];
    },
    until: eventually,
};
const people = [];
const published = [];
let speaking = 0;
let speakers = [];

const rooms = () => people.flatMap((person) => [...person.rooms.values()]);

const work = {
    async start({ index, people: count, present, rooms: channels, roam }) {
        for (let from = 0; from < count; from += 100) {
            const starting = [];
            for (let i = from; i < Math.min(count, from + 100); i += 1) {
                const person = new Person(cluster, `w${index}-${i}`, {
                    channels: channels ? [`doc:w${index}-${i % channels}`] : [], present, node: i, roam, within: 1000,
                });
                people.push(person);
                starting.push(person.start());
            }
            await Promise.all(starting);
        }
    },
    async join({ channel, within }) {
        for (const person of people) {
            const room = person.room(channel);
            person.rooms.set(channel, room);
            setTimeout(() => person.ask(person.link, room), Math.random() * within);
        }
    },
    // Messages of random people to their rooms, `rate` a second, each with its key until it is acknowledged.
    async speak({ rate }) {
        const began = Date.now();
        speaking += 1;
        const mine = speaking;
        let said = 0;
        (async () => {
            while (speaking === mine) {
                for (; said < ((Date.now() - began) / 1000) * rate; said += 1) {
                    const person = people[Math.floor(Math.random() * people.length)];
                    const [channel] = person.rooms.keys();
                    const one = person.publish(channel, said).then((reply) => published.push({ channel, ...reply }));
                    speakers.push(one);
                }
                await pause(10);
            }
        })();
    },
    async hush() {
        speaking += 1;
        await Promise.all(speakers);
        speakers = [];
    },
    async forget() {
        for (const room of rooms()) room.events = [];
    },
    async report() {
        const has = new Map();
        for (const room of rooms()) {
            if (!has.has(room.channel)) has.set(room.channel, []);
            has.get(room.channel).push(room.ids);
        }
        return {
            subscribed: people.filter((p) => p.link && p.link.subscribed.size === p.rooms.size).length,
            connects: people.reduce((sum, p) => sum + p.connects, 0),
            faults: people.flatMap((p) => p.faults).slice(0, 20),
            events: rooms().reduce((sum, room) => sum + room.events.length, 0),
            gaps: rooms().reduce((sum, room) => sum + room.gaps.length, 0),
            members: [...new Set(rooms().map((room) => room.members?.size ?? -1))],
            published: published.length,
            // Sent more often than twice.
            failed: published.filter((p) => p.sent > 2).length,
            retried: published.filter((p) => p.sent > 1).length,
            lacking: published.reduce((sum, p) => sum + has.get(p.channel).filter((ids) => !ids.has(p.messageId)).length, 0),
        };
    },
};

if (process.argv.includes('--worker')) {
    process.on('message', async ({ what, serial, nodes, ...words }) => {
        if (what === 'nodes') {
            cluster.nodes = nodes;
            return;
        }
        try {
            process.send({ serial, answer: (await work[what](words)) ?? null });
        } catch (error) {
            process.send({ serial, error: String(error.stack) });
        }
    });
    process.on('disconnect', () => process.exit(0));
}

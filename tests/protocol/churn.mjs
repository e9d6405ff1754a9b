// Many users come and go in every way at once; whatever was told must add up to one truth.
import { assert, eventually, fresh, gateway, main, pause, quiet, test } from './harness.mjs';

const linger = 400;
gateway([`--presence.linger_ms=${linger}`, '--limits.frames_per_second=100000', '--limits.frames_burst=100000']);

// A small generator, so that a failing seed can be run again.
function random(seed) {
    let state = seed >>> 0;
    return (below) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
    };
}

// Data that went away within one window is told as an update to null.
// Follows a watcher's frames from its snapshot on and fails where they do not alternate.
function view(client, snapshot, channel) {
    const users = new Map(snapshot.users.map((u) => [u.userId, JSON.stringify(u.data ?? null)]));
    const entry = (kind, u, whole) => {
        if (kind === 'join') {
            assert.ok(!users.has(u.userId), `join of ${u.userId}, who was there`);
            users.set(u.userId, JSON.stringify(u.data ?? null));
        } else {
            assert.ok(users.has(u.userId), `${kind} of ${u.userId}, who was not there`);
            if (kind === 'leave') users.delete(u.userId);
            else users.set(u.userId, JSON.stringify(u.data ?? null));
        }
        return whole;
    };
    for (const frame of client.frames) {
        if (frame.channel !== channel) continue;
        if (frame.type === 'presence.diff') {
            const names = [...frame.joins, ...frame.updates, ...frame.leaves].map((u) => u.userId);
            assert.equal(new Set(names).size, names.length, 'each user in at most one array of a diff');
            assert.ok(names.length > 1, 'a single change keeps its own form');
            for (const kind of ['join', 'update', 'leave']) for (const u of frame[`${kind}s`]) entry(kind, u);
            assert.equal(frame.count, users.size, 'the count of a diff is the set after it');
        } else if (/^presence\.(join|leave|update)$/.test(frame.type)) {
            entry(frame.type.slice(9), frame);
        }
    }
    return users;
}

for (const seed of [1, 2, 3]) {
    test(`every view meets after a storm of joins and leaves, seed ${seed}`, async (server) => {
        const pick = random(seed);
        const channel = fresh('storm');
        const watchers = await Promise.all(Array.from({ length: 6 }, (_, i) => server.connect(`w${i}`)));
        const snapshots = await Promise.all(watchers.map((w) => w.subscribe(channel)));
        const slots = new Array(24).fill(undefined);
        for (let step = 0; step < 400; step += 1) {
            const at = pick(slots.length);
            const client = slots[at];
            if (!client) {
                slots[at] = await server.connect(`u${at % 12}`);
                slots[at].in = false;
                continue;
            }
            const act = pick(8);
            if (act <= 3) {
                client.send(client.in
                    ? { type: 'unsubscribe', channel }
                    : { type: 'subscribe', channel, presence: pick(2) ? true : { step } });
                client.in = !client.in;
            } else if (act === 4 && client.in) {
                client.send({ type: 'presence.update', channel, data: { step } });
            } else if (act === 5) {
                client.cut();
                slots[at] = undefined;
            } else if (act === 6) {
                client.ws.close([1000, 1001][pick(2)]);
                slots[at] = undefined;
            } else if (pick(4) === 0) {
                await pause(pick(30));
            }
        }
        const live = slots.filter(Boolean);
        await quiet(...live);
        await pause(linger + 700);
        const wanted = [...new Set(live.filter((c) => c.in).map((c) => c.hello.userId))].sort();
        await pause(150);
        await quiet(...watchers);
        const truth = (await server.get(`/v1/channels/${channel}/presence`)).json.users;
        assert.deepEqual(truth.map((u) => u.userId).sort(), wanted);
        const data = Object.fromEntries(truth.map((u) => [u.userId, JSON.stringify(u.data ?? null)]));
        watchers.forEach((watcher, i) => {
            const users = view(watcher, snapshots[i].presence, channel);
            assert.deepEqual([...users.keys()].sort(), wanted);
            for (const [user, text] of users) assert.equal(text, data[user], `data of ${user}`);
        });
    });
}

test('subscribers who come and go under a stream of messages miss none', async (server) => {
    const channel = fresh('stream');
    const publisher = await server.connect('publisher');
    await publisher.ok('publish', { channel, data: 'first' });
    let stopped = false;
    const stream = (async () => {
        for (let n = 0; n < 400 && !stopped; n += 1) {
            publisher.send({ type: 'publish', channel, data: n });
            if (n % 5 === 0) await pause(3);
        }
    })();
    const follow = async (at) => {
        const client = await server.connect(`f${at}`);
        for (let round = 0; round < 8; round += 1) {
            const reply = await client.subscribe(channel);
            await pause(5 + at * 3);
            await client.ok('unsubscribe', { channel });
            const got = client.messages(channel).filter((m) => client.frames.indexOf(m) > client.frames.indexOf(reply));
            const mine = got.map((m) => m.offset);
            assert.deepEqual(mine, mine.map((_, i) => reply.position.offset + 1 + i), 'consecutive from the position on');
            client.frames.length = 0;
        }
    };
    try {
        await Promise.all(Array.from({ length: 10 }, (_, i) => follow(i)));
    } finally {
        stopped = true;
        await stream;
    }
});

test('a burst of subscribes, unsubscribes and publishes without waiting is answered in order', async (server) => {
    const channel = fresh('burst');
    const client = await server.connect('alice');
    const kinds = [];
    for (let n = 0; n < 60; n += 1) {
        const id = 1000 + n;
        const type = ['subscribe', 'publish', 'unsubscribe'][n % 3];
        kinds.push([id, { subscribe: 'subscribed', publish: 'published', unsubscribe: 'unsubscribed' }[type]]);
        client.send({ type, id, channel, data: n });
    }
    await client.waitFor((f) => f.id === 1059);
    const replies = client.frames.filter((f) => f.id >= 1000).map((f) => [f.id, f.type]);
    assert.deepEqual(replies.map(([id]) => id), kinds.map(([id]) => id));
    assert.deepEqual(new Set(replies.map(([, type]) => type)), new Set(['subscribed', 'published', 'unsubscribed']));
    assert.deepEqual(replies.map(([, type]) => type), kinds.map(([, type]) => type));
});

await main();

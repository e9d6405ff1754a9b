#!/usr/bin/env node
// What Redis itself may do to a cluster: an old primary that goes on acknowledging, slots on the move, no memory, loading, busy.
import { assert, main, pause } from '../protocol/harness.mjs';
import { Topology, bounds, constants, freePort, inline } from './cluster.mjs';
import { Proxy } from './proxy.mjs';
import { crowd, events, everywhere, fault, note, room, speak, usage } from './story.mjs';

usage('redis_faults_test.mjs');

// ---------------------------------------------------------------- F10: the old primary

// Sentinels, replicas and nodes know the first primary by a proxy; the last node reaches the sentinels through proxies, too.
async function behindProxy() {
    const port = await freePort();
    const proxy = await Proxy.start(port);
    const topology = await Topology.start('sentinel', ['--primary-port', port, '--seen-as', proxy.address.split(':')[1]]);
    topology.first = proxy;
    topology.watched = [];
    for (const sentinel of topology.servers.filter((s) => s.role === 'sentinel')) topology.watched.push(await Proxy.start(sentinel.port));
    topology.urls = [undefined, undefined, `redis+sentinel://${topology.watched.map((p) => p.address).join(',')}/main`];
    topology.proxies = [proxy, ...topology.watched];
    return topology;
}

const ofNodes = (proxy) => [...proxy.pipes].filter((pipe) => pipe.label !== 'peers').length;

fault('F10 an old primary that goes on acknowledging while cut off from the sentinels', async (cluster) => {
    const { redis } = cluster;
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 3 });
    for (let i = 0; i < 5; i += 1) await play[0].publish(room, i);
    redis.first.inject({ kind: 'drop', label: 'peers' });
    const speaking = speak(play[0], { every: 20 });
    const { port: old } = redis.servers[0];
    await cluster.until(async () => (await redis.say('primary')).port !== old, 10000, 'the sentinels name another one');
    await cluster.until(() => ofNodes(redis.first) === 0, 5000, 'no node speaks to the old primary');
    const before = speaking.published.length;
    assert.equal((await redis.say('ask', old, 'ROLE')).answer[0], 'master', 'the old one still takes itself for the primary');
    await cluster.until(() => speaking.published.length > before + 10, 10000, 'publishing goes on');
    const published = await speaking.end();
    redis.first.heal();
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a'], 10000);
    await cluster.complete(room, published.slice(-5));
    // A watcher who comes back now asks with a position that the log may have lost.
    for (const person of stay) person.cut();
    await cluster.until(() => cluster.people.every((p) => p.link?.subscribed.size === 1), 10000, 'all are back');
    await cluster.honest(room);
    await pause(bounds.hold);
    assert.deepEqual(events([...stay, ...play], since).filter((e) => e.includes('leave')), []);
    note(`${published.length} publishes acknowledged across the failover`);
}, { on: ['sentinel'], redis: behindProxy, timeout: 60000 });

fault('F10 a node alone with the old primary: it serves, and nobody is told a lie when it is back', async (cluster) => {
    const { redis } = cluster;
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}], ['b', 2, { roam: false }]], watchers: 3 });
    for (let i = 0; i < 5; i += 1) await play[0].publish(room, i);
    const { port: old } = redis.servers[0];
    for (const proxy of redis.watched) proxy.cut();
    redis.first.inject({ kind: 'drop', label: 'peers' });
    const healthy = speak(play[0], { every: 20 });
    const alone = speak(play[1], { every: 20 });
    await cluster.until(async () => (await redis.say('primary')).port !== old, 10000, 'the sentinels name another one');
    // Two logs grow under one name.
    const before = [healthy.published.length, alone.published.length];
    await cluster.until(() => healthy.published.length > before[0] + 10 && alone.published.length > before[1] + 10, 10000, 'both sides acknowledge');
    await pause(constants.lease);
    for (const proxy of redis.watched) proxy.heal();
    await cluster.until(() => ofNodes(redis.first) === 0, 10000, 'no node speaks to the old primary');
    redis.first.heal();
    await alone.end();
    await healthy.end();
    // For the lonely node the others were silent, too. Whom it has seen leave it believes again after 30 s (R4).
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a', 'b'], 35000);
    await cluster.hear(room, play);
    for (const person of stay) person.cut();
    await cluster.until(() => cluster.people.every((p) => p.link?.subscribed.size === 1), 10000, 'all are back');
    await cluster.honest(room);
    // Of those on the lonely node a leave is right: for the others it was silent for a lease.
    const here = ['watch0', 'watch1', 'a'];
    assert.deepEqual(events(stay.slice(0, 2), since).filter((e) => here.some((user) => e.endsWith(`leave ${user}`))), []);
}, { on: ['sentinel'], redis: behindProxy, timeout: 90000, long: true });

fault('F10 a node alone with an old primary that wants a replica (min-replicas-to-write 1): nothing is acknowledged, nobody is seen to leave', async (cluster) => {
    const { redis } = cluster;
    const { port: old } = redis.servers[0];
    for (const words of [['min-replicas-to-write', 1], ['min-replicas-max-lag', 1]]) await redis.say('ask', old, 'CONFIG', 'SET', ...words);
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}], ['b', 2, { roam: false }]], watchers: 3 });
    for (const proxy of redis.watched) proxy.cut();
    redis.first.inject({ kind: 'drop', label: 'peers' });
    const refused = await cluster.until(async () => {
        const one = await cluster.nodes[2].publish(room, { data: 'alone' });
        return one.status === 503 && one;
    }, 5000, 'the lonely node refuses');
    assert.equal(refused.json.error.code, 'unavailable');
    const lonely = [stay[2], play[1]];
    await pause(constants.lease * 1.5);
    assert.deepEqual(events(lonely, since), [], 'blind, it tells nothing');
    await cluster.until(async () => (await redis.say('primary')).port !== old, 10000, 'the sentinels name another one');
    for (const proxy of redis.watched) proxy.heal();
    await cluster.until(() => ofNodes(redis.first) === 0, 10000, 'no node speaks to the old primary');
    redis.first.heal();
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a', 'b'], 10000);
    await cluster.hear(room, play);
    await cluster.honest(room);
    await pause(bounds.hold);
    assert.deepEqual(events(lonely, since).filter((e) => e.includes('leave')), []);
}, { on: ['sentinel'], redis: behindProxy, timeout: 60000, long: true });

// Of a cluster: nodes and servers know each server by a proxy, and its bus by another.
async function busBehindProxies() {
    const ports = [];
    for (let i = 0; i < 6; i += 1) ports.push([await freePort(), await freePort()]);
    const proxies = [];
    for (const pair of ports) proxies.push(await Promise.all(pair.map((port) => Proxy.start(port))));
    const words = (pairs) => pairs.map((pair) => pair.join(':')).join(',');
    const seen = proxies.map((pair) => pair.map((proxy) => proxy.address.split(':')[1]));
    const topology = await Topology.start('cluster', ['--ports', words(ports), '--all-seen-as', words(seen)]);
    topology.proxies = proxies.flat();
    // Server i is alone, for its replicas, too; the nodes still reach it.
    topology.isolate = async (i) => {
        const { answer: id } = await topology.say('ask', ports[i][0], 'CLUSTER', 'MYID');
        proxies[i][0].inject({ kind: 'drop', label: 'peers' });
        for (const [k, [, bus]] of proxies.entries()) bus.inject({ kind: 'drop', label: k === i ? undefined : id });
    };
    topology.heal = () => {
        for (const proxy of topology.proxies) proxy.heal();
    };
    return topology;
}

// By itself the old one stops when it has not heard the others for as long as they wait for it; here it waits longer.
for (const [what, patience] of [['until it misses them', 1500], ['long after another took its place', 8000]]) {
    fault(`F10 a primary of a cluster cut off from the other servers, which acknowledges ${what}`, async (cluster) => {
        const { redis } = cluster;
        const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}], ['b', 1, {}]], watchers: 3 });
        for (let i = 0; i < 5; i += 1) await play[0].publish(room, i);
        const old = await redis.primary(room);
        const index = redis.servers.findIndex((server) => server.port === old);
        const replica = redis.servers[index + 3].port;
        await redis.say('ask', old, 'CONFIG', 'SET', 'cluster-node-timeout', patience);
        await redis.isolate(index);
        const speaking = play.map((person) => speak(person, { every: 20 }));
        await cluster.until(async () => (await redis.say('ask', replica, 'ROLE')).answer[0] === 'master', 15000, 'the replica takes its place');
        assert.equal((await redis.say('ask', old, 'ROLE')).answer[0], 'master', 'the old one still takes itself for a primary');
        const acknowledged = speaking.map((one) => one.published.length);
        // What the new one has in its log it has from a node that has changed over.
        await cluster.until(async () => {
            const last = play.map((person) => person.rooms.get(room).position?.id);
            const { answer } = await redis.say('ask', replica, 'KEYS', `*:sm:default/${room}`);
            const newest = answer?.[0] && (await redis.say('ask', replica, 'HGET', answer[0], 'i')).answer;
            return newest && last.every((id) => id === newest);
        }, patience + 10000, 'the nodes speak to the new primary');
        const told = speaking.map((one) => one.published.length);
        await cluster.until(() => speaking.every((one, i) => one.published.length > told[i] + 10), 10000, 'publishing goes on');
        redis.heal();
        for (const one of speaking) await one.end();
        await cluster.until(async () => (await redis.say('ask', old, 'ROLE')).answer[0] === 'slave', 15000, 'the old one follows');
        // Nodes that changed over at different times were silent for each other meanwhile (R4: 30 s).
        const split = patience > constants.lease;
        await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a', 'b'], split ? 35000 : 10000);
        await cluster.hear(room, play);
        for (const person of stay) person.cut();
        await cluster.until(() => cluster.people.every((p) => p.link?.subscribed.size === 1), 10000, 'all are back');
        await cluster.honest(room);
        await pause(bounds.hold);
        const leaves = events([...stay, ...play], since).filter((e) => e.includes('leave'));
        if (!split) assert.deepEqual(leaves, []);
        note(`${leaves.length} leaves; ${acknowledged} publishes acknowledged before another took its place, ${told} when the nodes had changed over`);
    }, { on: ['cluster'], redis: busBehindProxies, timeout: 90000, long: patience > 1500 });
}

// ---------------------------------------------------------------- F11: slots on the move

fault('F11 100 slots moved under load: nothing lost', async (cluster) => {
    const { redis } = cluster;
    const rooms = Array.from({ length: 10 }, (_, i) => `doc:${i}`);
    const people = [];
    for (const node of [0, 1]) people.push(await cluster.person(`p${node}`, { channels: rooms, node }));
    await cluster.until(() => people.every((p) => rooms.every((r) => p.members(r).length === 2)), 5000, 'all are there');
    const since = Date.now();
    const speaking = rooms.map((channel, i) => speak(people[i % 2], { channel }));
    const slots = new Set();
    for (const { port } of redis.servers) {
        for (const key of (await redis.say('ask', port, 'KEYS', 'st:*}:ls')).answer ?? []) {
            slots.add((await redis.say('ask', port, 'CLUSTER', 'KEYSLOT', key)).answer);
        }
    }
    assert.ok(slots.size >= 90, `${slots.size} slots`);
    let moved = 0;
    for (const slot of [...slots, ...slots].slice(0, 100)) {
        const { error } = await redis.say('move-slot', slot);
        assert.equal(error, undefined);
        moved += 1;
    }
    const published = [];
    for (const one of speaking) published.push(await one.end());
    for (const [i, channel] of rooms.entries()) await cluster.complete(channel, published[i].slice(-50), 10000);
    await cluster.until(() => people.every((p) => rooms.every((r) => p.members(r).length === 2)), 10000, 'all are still there');
    await pause(bounds.hold);
    assert.deepEqual(people.flatMap((p) => rooms.flatMap((r) => p.rooms.get(r).events.filter((e) => e.at > since))), []);
    note(`${moved} slots moved, ${published.flat().length} messages meanwhile`);
}, { nodes: 2, on: ['cluster'], flags: ['--cluster.partitions=100'], timeout: 120000, long: true });

// ---------------------------------------------------------------- F13: Redis full, loading, busy, asleep, without its scripts

// The longest turn of each node's loops, looked at ten times a second until told to end.
function loopDelays(cluster) {
    const seen = [];
    const timer = setInterval(() => {
        for (const node of cluster.nodes) {
            node.get('/metrics', { key: null, admin: true }).then(({ text }) => {
                seen.push(1000 * Number(text.match(/^starling_loop_delay_seconds (\S+)/m)?.[1] ?? 0));
            }, () => {});
        }
    }, 100);
    return () => {
        clearInterval(timer);
        return seen.sort((a, b) => a - b)[Math.floor(seen.length * 0.99)];
    };
}

const toAll = (...words) => (redis) => redis.ask(...words);
const troubles = {
    full: { begin: toAll('CONFIG', 'SET', 'maxmemory', '1mb'), end: toAll('CONFIG', 'SET', 'maxmemory', '0'), refuses: true },
    'busy with a script': {
        begin: async (redis, port) => {
            await redis.ask('CONFIG', 'SET', 'busy-reply-threshold', '20');
            inline(port, 'EVAL "while 1 do end" 0');
        },
        end: (redis, port) => inline(port, 'SCRIPT KILL'),
        refuses: true,
    },
    asleep: { begin: (redis, port) => void inline(port, `DEBUG SLEEP ${(constants.lease * 0.4) / 1000}`), lasts: constants.lease * 0.4 },
    'without its scripts': { begin: toAll('SCRIPT', 'FLUSH'), lasts: 0 },
    loading: {
        on: ['standalone'],
        long: true,
        begin: async (redis) => {
            await redis.ask('DEBUG', 'POPULATE', '2000', 'ballast');
            await redis.ask('SAVE');
            await redis.kill();
            redis.words.push('--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024');
            redis.launch({ answers: /PONG|LOADING/ });
        },
        end: async (redis) => redis.until(async () => (await redis.ask('PING')).trim() === 'PONG', 'loaded'),
        lasts: 0,
        loses: true,
    },
};

for (const [what, trouble] of Object.entries(troubles)) {
    fault(`F13 Redis ${what}: errors with a name, clients served, and it heals`, async (cluster) => {
        const { redis } = cluster;
        const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
        const delay = loopDelays(cluster);
        const port = await redis.primary(room);
        const speaking = speak(play[0], { every: 10 });
        await cluster.until(() => speaking.published.length > 5);
        await trouble.begin(redis, port);
        const bystander = await cluster.nodes[1].connect('bystander');
        if (trouble.refuses) {
            const answer = await cluster.until(async () => {
                const one = await cluster.nodes[0].publish(room, { data: 'refused' });
                return one.status === 503 && one;
            }, constants.heartbeat * 10, 'a publish is refused');
            assert.equal(answer.json.error.code, 'unavailable');
            const held = Date.now();
            while (Date.now() < held + constants.lease * 1.2) {
                await bystander.ping();
                await pause(20);
            }
        } else {
            await bystander.ping();
            await pause(trouble.lasts);
        }
        await trouble.end?.(redis, port);
        const healed = speaking.published.length;
        await cluster.until(() => speaking.published.length > healed + 3, 5000, 'publishing goes on');
        const published = await speaking.end();
        await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
        // What the snapshot on disk does not have is lost; whoever had it is told of a gap, and goes on from there.
        // So is what the last primary acknowledged while the sentinels already named another one.
        const replaced = (await redis.primary(room)) !== port;
        if (!trouble.loses && !replaced) await cluster.complete(room, published.slice(-90));
        // A node that reaches Redis later than the other tells of the gap later.
        await cluster.hear(room, play);
        await cluster.whenHonest(room, 5000);
        await cluster.until(async () => (await cluster.nodes[1].get('/health/ready', { key: null })).status === 200, 5000, 'ready again');
        await pause(bounds.settle + constants.linger);
        assert.deepEqual(events(stay, since), []);
        // To hold: 10 ms, which a crowded machine does not; a loop that waits for Redis would wait for a second.
        const longest = delay();
        assert.ok(longest < 800, `loop delay p99 ${longest} ms`);
        note(`loop delay p99 ${longest.toFixed(1)} ms${replaced ? '; another primary' : ''}`);
    }, { nodes: 2, on: trouble.on ?? everywhere, timeout: 30000, long: trouble.long });
}

fault('F13 more publishes than Redis takes while it is stopped: refused, nothing grows without end', async (cluster) => {
    const { stay, play } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    const memory = () => cluster.memory(0);
    const before = await memory();
    await cluster.redis.pause();
    const body = { data: 'x'.repeat(60000) };
    const statuses = {};
    let highest = 0;
    const until = Date.now() + constants.lease;
    await Promise.all(Array.from({ length: 64 }, async () => {
        while (Date.now() < until) {
            const { status } = await cluster.nodes[0].publish(room, body);
            statuses[status] = (statuses[status] ?? 0) + 1;
            highest = Math.max(highest, await memory());
        }
    }));
    await cluster.redis.resume();
    const published = await play[0].publish(room, 'after');
    await cluster.complete(room, [published]);
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
    assert.ok(statuses[503] > 0, JSON.stringify(statuses));
    assert.ok(highest - before < 160, `${before} MB, then ${highest} MB`);
    assert.equal(stay[0].of(room, 'leave').length, 0);
    note(`answers ${JSON.stringify(statuses)}, ${before.toFixed(0)} MB, at most ${highest.toFixed(0)} MB`);
}, { nodes: 2, on: everywhere, long: true, timeout: 60000 });

await main();

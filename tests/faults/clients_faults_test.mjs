#!/usr/bin/env node
// What many clients do to a cluster, and what becomes of them: restarts of all nodes under load, storms, those that do not read, do
// not finish or are gone, and time.
import { createConnection } from 'node:net';
import WebSocket from 'ws';
import { assert, main, pause } from '../protocol/harness.mjs';
import { bounds, constants, metric, metrics, percentile, watchCommands } from './cluster.mjs';
import { Proxy } from './proxy.mjs';
import { crowd, everywhere, fault, large, note, room, usage } from './story.mjs';
import { Swarm } from './swarm.mjs';

usage('clients_faults_test.mjs');

// ---------------------------------------------------------------- F3: all nodes, one after the other

const crowdSize = large ? { people: 10000, rate: 1000, window: 15000 } : { people: 400, rate: 100, window: 3000 };

fault(`F3 rolling restart of all nodes under ${crowdSize.people} connections and ${crowdSize.rate} messages a second`, async (cluster) => {
    const { people, rate, window } = crowdSize;
    const swarm = await Swarm.start(cluster, { people, workers: 4, rooms: people / 10 });
    try {
        await cluster.until(async () => {
            const { subscribed, members } = await swarm.report();
            return subscribed === people && new Set(members).size === 1;
        }, 60000, 'all see all');
        await swarm.ask('forget');
        await swarm.ask('speak', { rate: rate / 4 });
        let worst = 0;
        for (let i = 0; i < cluster.nodes.length; i += 1) {
            const old = cluster.nodes[i];
            const others = cluster.nodes.filter((node) => node !== old);
            const opened = async () => {
                let sum = 0;
                for (const node of others) sum += metric(await metrics(node), 'starling_connections_opened_total');
                return sum;
            };
            const pace = metric(await metrics(old), 'starling_connections') / (window / 1000);
            let before = await opened();
            let at = Date.now();
            let fastest = 0;
            old.down = true;
            swarm.tell();
            old.signal('SIGTERM');
            const ended = old.exited.then(({ code }) => code);
            // Over two seconds each: a shorter look measures the machine.
            for (let gone = false; !gone;) {
                gone = await Promise.race([ended.then(() => true), pause(2000).then(() => false)]);
                const now = await opened();
                const span = (Date.now() - at) / 1000;
                if (!gone) fastest = Math.max(fastest, (now - before) / span);
                before = now;
                at = Date.now();
            }
            assert.equal(await ended, 0);
            worst = Math.max(worst, fastest / pace);
            note(`node ${i}: ${(pace * window / 1000).toFixed(0)} connections left at ${pace.toFixed(0)} a second, at most ${fastest.toFixed(0)} came`);
            await cluster.restart(i);
            swarm.tell();
        }
        await swarm.ask('hush');
        await cluster.until(async () => {
            const { subscribed, lacking } = await swarm.report();
            return subscribed === people && lacking === 0;
        }, 30000, async () => JSON.stringify(await swarm.report()));
        await pause(bounds.crash);
        const report = await swarm.report();
        note(`${report.published} messages, ${report.retried} sent twice, connects at most ${worst.toFixed(2)} times the pace, ${report.events} joins and leaves told, ${report.gaps} gaps`);
        assert.deepEqual(report.faults, []);
        assert.equal(report.events, 0, 'joins and leaves');
        assert.equal(report.lacking, 0, 'messages lost');
        assert.equal(report.gaps, 0, 'gaps told');
        assert.equal(report.failed, 0, 'publishes that failed after a retry');
        assert.ok(worst <= 1.2, `${worst} times the pace`);
    } finally {
        await swarm.stop();
    }
}, { nodes: 4, on: everywhere, long: true, timeout: 400000, flags: [`--server.drain.window_ms=${crowdSize.window}`] });

// ---------------------------------------------------------------- F21, F22: storms of clients, and what Redis has of it

// A storm starves a crowded machine; with a short heartbeat a starved node takes itself for cut off, and reads for each client.
const calm = ['--cluster.heartbeat_ms=1000', '--cluster.lease_ms=8500', '--presence.linger_ms=5000'];

fault('F21 everyone comes back at once with recovery: one history read a channel and node', async (cluster) => {
    const { redis } = cluster;
    const [count, spread] = large ? [3000, 10000] : [300, 3000];
    const rooms = ['doc:1', 'doc:2', 'doc:3'];
    const starting = [];
    for (let i = 0; i < count; i += 1) {
        starting.push(cluster.person(`p${i}`, { channels: [rooms[i % 3]], present: false, node: Math.floor(i / 3), within: spread }));
        if (i % 50 === 49) await Promise.all(starting.splice(0));
    }
    await Promise.all(starting);
    const published = rooms.map(() => []);
    const say = async (n) => {
        for (const [i, channel] of rooms.entries()) {
            for (let k = 0; k < n; k += 1) published[i].push((await cluster.nodes[i].publish(channel, { data: k })).json);
        }
    };
    await say(5);
    for (const [i, channel] of rooms.entries()) await cluster.complete(channel, published[i]);
    const reads = watchCommands(redis.servers?.map((s) => s.port) ?? [redis.port], /xrevrange" "[^"]*:s:default\/doc:/i);
    await reads.ready;
    const since = Date.now();
    for (const person of cluster.people) person.cut();
    await say(10);
    await cluster.until(() => cluster.people.every((p) => p.link?.subscribed.size === 1 && p.connects === 2), 30000, 'all are back');
    const took = Date.now() - since;
    for (const [i, channel] of rooms.entries()) await cluster.complete(channel, published[i]);
    const { count: asked } = reads.end();
    const gaps = cluster.people.flatMap((p) => [...p.rooms.values()].flatMap((r) => r.gaps.map((g) => g.reason)));
    assert.deepEqual(gaps, [], 'all recovered');
    note(`${count} clients back in ${took} ms, ${asked} history reads for ${rooms.length} channels on ${cluster.nodes.length} nodes`);
    // A second one where a message came between the first and the channel's position; never one a client.
    assert.ok(asked <= 2 * rooms.length * cluster.nodes.length, `${asked} history reads`);
}, { on: everywhere, timeout: 120000, flags: calm });

fault('F22 everyone subscribes to one channel within a second: one snapshot a node', async (cluster) => {
    const { redis } = cluster;
    const count = large ? 20000 : 2000;
    const channel = 'doc:popular';
    for (let i = 0; i < 20; i += 1) await cluster.person(`member${i}`, { channels: [channel], node: 0 });
    const swarm = await Swarm.start(cluster, { people: count, workers: large ? 4 : 2, present: false });
    const snapshots = watchCommands(redis.servers?.map((s) => s.port) ?? [redis.port], /(hgetall|hscan)" "[^"]*:pd:default\/doc:popular/i);
    await snapshots.ready;
    const since = Date.now();
    await swarm.ask('join', { channel, within: 1000 });
    await cluster.until(async () => (await swarm.ask('report')).reduce((sum, r) => sum + r.subscribed, 0) === count, 60000, 'all are subscribed');
    const took = Date.now() - since;
    const reports = await swarm.ask('report');
    assert.deepEqual([...new Set(reports.flatMap((r) => r.members))], [20], 'all have all members');
    const { count: asked } = snapshots.end();
    note(`${count} subscribed in ${took} ms, ${asked} snapshots on ${cluster.nodes.length} nodes`);
    assert.ok(asked <= cluster.nodes.length, `${asked} snapshots`);
    await swarm.stop();
}, { on: everywhere, timeout: 120000 });

// ---------------------------------------------------------------- F19, F20: clients that do not read, do not finish, or are gone

// Some readers, and an equal number at a node of its own where nobody is slow: rounds at both alternate, so that what else the
// machine does falls on both.
async function audience(node, name, count) {
    const times = [];
    const open = (i) => new Promise((done, fail) => {
        const ws = new WebSocket(`ws://${node.address}/v1/ws`, ['starling.v1.json'], { perMessageDeflate: false });
        ws.on('error', fail);
        ws.on('close', (code) => (ws.code = code));
        ws.on('open', () => ws.send(JSON.stringify({ type: 'connect', user: `${name}${i}` })));
        ws.on('message', (bytes) => {
            if (ws.stopped) return;
            const head = bytes.subarray(0, 40).toString();
            if (head.includes('"connected"')) {
                for (const kind of ['probe', 'flood']) ws.send(JSON.stringify({ type: 'subscribe', id: 7, channel: `live:${name}-${kind}` }));
            } else if (head.includes('"subscribed"')) {
                ws.there = (ws.there ?? 0) + 1;
                if (ws.there === 2) done(ws);
            } else if (head.includes('"message"') && bytes.length < 1000) {
                times.push(performance.now() - JSON.parse(bytes.toString()).data.sent);
            }
        });
    });
    const clients = [];
    for (let i = 0; i < count; i += 1) clients.push(await open(i));
    const reading = () => clients.filter((ws) => !ws.stopped);
    const stop = (share, how) => {
        const chosen = reading().slice(0, Math.max(1, count * share));
        for (const ws of chosen) {
            ws.stopped = true;
            how(ws);
        }
    };
    const flood = { data: 'x'.repeat(30000) };
    // Small messages timed, large ones between them. They go through Redis and out to all.
    const round = async () => {
        times.length = 0;
        for (let i = 0; i < 40; i += 1) {
            await node.publish(`live:${name}-flood`, flood);
            await node.publish(`live:${name}-probe`, { data: { sent: performance.now() } });
            await pause(5);
        }
        const due = Date.now() + 10000;
        while (times.length < 40 * reading().length && Date.now() < due) await pause(5);
        assert.equal(times.length, 40 * reading().length, 'the readers have all');
        return percentile(times, 0.99);
    };
    return { clients, reading, stop, round, slow: () => clients.filter((ws) => ws.stopped) };
}

fault('F19 1 % and 20 % of the clients stop reading: the others do not notice, the slow ones are closed with 4008', async (cluster) => {
    const [node, other] = cluster.nodes;
    const count = 100;
    const here = await audience(node, 'here', count);
    const control = await audience(other, 'control', count);
    const memory = await cluster.memory(0);
    let highest = memory;
    for (const share of [0.01, 0.2]) {
        here.stop(share, (ws) => ws._socket.pause());
        control.stop(share, (ws) => ws.terminate());
        const pairs = [];
        for (let i = 0; i < 12; i += 1) {
            pairs.push([await here.round(), await control.round()]);
            highest = Math.max(highest, await cluster.memory(0));
        }
        // Until the last of them is full: what the kernel takes comes first.
        const closed = async () => metric(await metrics(node), 'starling_slow_consumers_total');
        await cluster.until(async () => {
            await here.round();
            highest = Math.max(highest, await cluster.memory(0));
            return (await closed()) >= here.slow().length;
        }, 60000, 'the slow ones are closed');
        // Noise makes a round longer, hardly ever shorter; a node that waits for the slow makes every one longer.
        const ratio = percentile(pairs.map(([a, b]) => a / b), 0.25);
        const best = [0, 1].map((i) => Math.min(...pairs.map((pair) => pair[i])));
        note(`${here.slow().length} of ${count} stopped: p99 of the other ${here.reading().length} ${best[0].toFixed(1)} ms, where nobody is slow ${best[1].toFixed(1)} ms, ratio ${ratio.toFixed(2)}`);
        assert.ok(ratio <= 1.1, `p99 ${ratio} times that without slow ones: ${JSON.stringify(pairs)}`);
    }
    for (const ws of here.slow()) ws._socket.resume();
    await cluster.until(() => here.slow().every((ws) => ws.code !== undefined), 5000, 'they see the end');
    assert.ok(here.slow().every((ws) => [4008, 1006].includes(ws.code)), `${here.slow().map((ws) => ws.code)}`);
    assert.match(await metrics(node), /starling_connections_closed_total\{code="4008"\} 2[01]/);
    note(`memory ${memory.toFixed(0)} MB, at most ${highest.toFixed(0)} MB`);
    // One queue_bytes each at most, and messages are shared.
    assert.ok(highest < memory + here.slow().length * 0.3 + 20, `${highest} MB`);
    for (const ws of [...here.clients, ...control.clients]) ws.terminate();
}, { nodes: 2, on: everywhere, flags: ['--limits.queue_bytes=262144'], timeout: 120000, long: true });

fault('F20 dripped bytes and half-open connections end in time, and those behind them leave', async (cluster) => {
    const [host, port] = cluster.nodes[1].address.split(':');
    const dripping = createConnection(Number(port), host);
    const request = `GET /v1/ws HTTP/1.1\r\nHost: ${host}\r\nX-Slow: ${'x'.repeat(1000)}`;
    let sent = 0;
    const drip = setInterval(() => dripping.write(request[sent++]), 100);
    const began = Date.now();
    const dripped = new Promise((done) => {
        dripping.on('error', () => {});
        dripping.on('data', () => {});
        dripping.on('close', () => {
            clearInterval(drip);
            done(Date.now() - began);
        });
    });
    const { stay } = await crowd(cluster, { members: [['direct', 1, { roam: false }]], watchers: 1 });
    // The next one's cable is pulled: both ends stay open, nothing comes through.
    const wire = await Proxy.start(Number(port), host);
    const { nodes } = cluster;
    const [real] = nodes.splice(1, 1, { ...nodes[1], address: wire.address, down: false });
    const gone = await cluster.person('gone', { channels: [room], node: 1, roam: false });
    nodes.splice(1, 1, real);
    await cluster.agree(room, ['watch0', 'direct', 'gone']);
    gone.stopped = true;
    wire.inject({ kind: 'drop' });
    const pulled = Date.now();
    await cluster.until(() => stay[0].of(room, 'leave', 'gone').length === 1, 11000 + constants.linger + 3000, 'who is gone has left');
    const took = Date.now() - pulled;
    assert.ok(took > 9000 && took < 11000 + constants.linger + 1500, `told after ${took} ms`);
    const ended = await dripped;
    note(`the drip ended after ${ended} ms, the leave was told ${took} ms after the cable was pulled`);
    assert.ok(ended < 10500, `${ended} ms`);
    assert.equal(stay[0].of(room, 'leave', 'direct').length, 0);
    assert.match(await metrics(real), /starling_connections_closed_total\{code="4009"\} 1/);
    wire.stop();
}, { nodes: 2, flags: ['--server.ping_interval_s=1'], timeout: 30000, on: everywhere });

// ---------------------------------------------------------------- F29: time

fault(`F29 500 connects a second for ${large ? 300 : 20} s: memory, descriptors and keys are again where they were`, async (cluster) => {
    const { stay } = await crowd(cluster, { watchers: 2 });
    const rooms = Array.from({ length: 20 }, (_, i) => `doc:soak${i}`);
    let serial = 0;
    const failures = [];
    const visit = () => new Promise((done) => {
        const n = serial++;
        const ws = new WebSocket(`ws://${cluster.nodes[n % 2].address}/v1/ws`, ['starling.v1.json'], { perMessageDeflate: false });
        const channel = rooms[n % rooms.length];
        ws.on('error', (error) => failures.push(error.message));
        ws.on('close', done);
        ws.on('open', () => ws.send(JSON.stringify({ type: 'connect', user: `u${n % 500}` })));
        ws.on('message', (bytes) => {
            const { type, id } = JSON.parse(bytes.toString());
            if (type === 'connected') ws.send(JSON.stringify({ type: 'subscribe', id: 1, channel, presence: true }));
            else if (type === 'subscribed') ws.send(JSON.stringify({ type: 'publish', id: 2, channel, data: n }));
            else if (id === 2) ws.close(1000);
        });
    });
    const soak = async (seconds) => {
        const began = Date.now();
        const before = serial;
        const open = new Set();
        while (Date.now() < began + seconds * 1000) {
            const due = ((Date.now() - began) / 1000) * 500;
            while (serial - before < due && open.size < 2000) {
                const one = visit();
                open.add(one);
                one.then(() => open.delete(one));
            }
            await pause(5);
        }
        await Promise.all(open);
        return (serial - before) / ((Date.now() - began) / 1000);
    };
    const rest = async () => {
        for (const node of cluster.nodes) await cluster.until(async () => metric(await metrics(node), 'starling_connections') === 1, 20000, 'all are gone');
        await pause(constants.linger + bounds.settle);
        // What is kept for a time on purpose (idempotency, epochs) is there after the first round as after the last.
        return {
            memory: [await cluster.memory(0), await cluster.memory(1)],
            descriptors: [await cluster.descriptors(0), await cluster.descriptors(1)],
            keys: await cluster.redis.keys(),
        };
    };
    await soak(large ? 20 : 5);
    const before = await rest();
    const rate = await soak(large ? 300 : 20);
    const after = await rest();
    note(`${rate.toFixed(0)} connects a second; before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
    assert.deepEqual(failures, []);
    assert.ok(rate > 400, `${rate} a second`);
    for (const i of [0, 1]) {
        assert.ok(after.memory[i] < before.memory[i] * 1.15 + 4, `node ${i}: ${before.memory[i]} MB, then ${after.memory[i]} MB`);
        assert.ok(after.descriptors[i] <= before.descriptors[i] + 2, `node ${i}: ${before.descriptors[i]} descriptors, then ${after.descriptors[i]}`);
    }
    assert.ok(after.keys <= before.keys + 5, `${before.keys} keys, then ${after.keys}`);
    assert.equal(stay[0].members(room).length, 2);
}, { nodes: 2, on: everywhere, timeout: large ? 600000 : 90000 });

await main();

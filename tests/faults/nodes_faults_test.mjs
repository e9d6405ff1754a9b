#!/usr/bin/env node
// What may happen to the nodes themselves: clocks, descriptors, a log that nobody takes, broken configuration, two wire versions.
import { createConnection } from 'node:net';
import { existsSync, openSync, readFileSync, rmSync, unlinkSync, writeFileSync, writeSync, constants as modes } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Skip, assert, everything, main, namespace, pause, toml } from '../protocol/harness.mjs';
import { bounds, constants, metric, metrics, percentile } from './cluster.mjs';
import { nextVersion } from './next_version.mjs';
import { crowd, events, everywhere, fault, note, room, speak, usage } from './story.mjs';

usage('nodes_faults_test.mjs');

// ---------------------------------------------------------------- F15: the wall clock

const faker = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/faketime/libfaketimeMT.so.1'].find((path) => existsSync(path));
process.on('exit', () => {
    for (const i of [0, 1, 2]) rmSync(clockFile(i), { force: true });
});
const clockFile = (i) => join(tmpdir(), `starling-clock-${process.pid}-${i}`);

fault('F15 the wall clock of one node moved by an hour, either way: nothing is told', async (cluster) => {
    if (!faker) throw new Skip('libfaketime is not there');
    const { stay, play, since } = await crowd(cluster, { members: [['a', 1, {}], ['b', 0, {}]] });
    const published = [];
    for (const hours of [1, -1, 0]) {
        writeFileSync(clockFile(1), `${hours < 0 ? '' : '+'}${hours * 3600}`);
        const fresh = await cluster.nodes[1].connect('fresh');
        assert.ok(Math.abs(fresh.hello.serverTime - Date.now() - hours * 3600000) < 60000, 'the node sees the other time');
        await fresh.close();
        for (const person of play) published.push(await person.publish(room, hours));
        // Someone comes and goes where the clock is wrong.
        const guest = await cluster.person(`guest${hours}`, { channels: [room], node: 1 });
        await cluster.until(() => stay.every((p) => p.of(room, 'join', guest.user).length === 1), 2000, 'a join is told');
        await guest.leave();
        await cluster.until(() => stay.every((p) => p.of(room, 'leave', guest.user).length === 1), 2000, 'a leave is told');
        play[0].cut();
        await pause(bounds.crash);
    }
    await cluster.complete(room, published);
    assert.deepEqual(events(stay, since).filter((e) => !e.includes('guest')), []);
}, {
    on: everywhere,
    timeout: 40000,
    options: (i) => {
        writeFileSync(clockFile(i), '+0');
        return faker && i === 1
            ? { env: { LD_PRELOAD: faker, FAKETIME_TIMESTAMP_FILE: clockFile(i), FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' } }
            : {};
    },
});

// ---------------------------------------------------------------- F17: descriptors

// CPU time of a process, in seconds.
function cpu(pid) {
    const words = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(words[11]) + Number(words[12])) / 100;
}

fault('F17 descriptors used up: no spinning, those who are there are served, and it recovers within 1 s', async (cluster) => {
    const { stay, play } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    const node = cluster.nodes[0];
    const { pid } = node.child;
    const limit = (await cluster.descriptors(0)) + 20;
    execFileSync('prlimit', ['--pid', String(pid), `--nofile=${limit}:20000`]);
    const taken = [];
    for (let i = 0; i < 60; i += 1) {
        const socket = createConnection(Number(node.address.split(':')[1]), '127.0.0.1');
        socket.on('error', () => {});
        socket.on('close', () => (socket.over = true));
        taken.push(socket);
    }
    await cluster.until(() => taken.filter((s) => s.over).length >= 30, 5000, 'those who are too many are refused');
    // Callers without end while there is nothing to give them.
    const calling = setInterval(() => createConnection(Number(node.address.split(':')[1]), '127.0.0.1').on('error', () => {}), 20);
    const [before, at] = [cpu(pid), Date.now()];
    const published = [];
    while (Date.now() < at + 2000) published.push(await play[0].publish(room, published.length));
    await cluster.complete(room, published);
    clearInterval(calling);
    const idle = [cpu(pid), Date.now()];
    await pause(1000);
    const burnt = (cpu(pid) - idle[0]) / ((Date.now() - idle[1]) / 1000);
    assert.ok(burnt < 0.3, `${burnt} of a core without anything to do`);
    for (const socket of taken.slice(0, 40)) socket.destroy();
    const free = Date.now();
    await cluster.until(async () => {
        const late = await node.connect('late').catch(() => undefined);
        return late && (await late.close(), true);
    }, 1000, 'a newcomer is let in within a second');
    note(`let in after ${Date.now() - free} ms; ${published.length} publishes served meanwhile with ${(idle[0] - before).toFixed(2)} s of CPU in 2 s`);
    for (const socket of taken) socket.destroy();
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
    assert.equal(stay[0].of(room, 'leave').length, 0);
}, { nodes: 2, on: everywhere });

fault('F17 descriptors used up, and every connection to Redis ends: the node finds it again before its lease is over', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    const node = cluster.nodes[0];
    execFileSync('prlimit', ['--pid', String(node.child.pid), `--nofile=${(await cluster.descriptors(0)) + 40}:20000`]);
    const taken = [];
    const call = () => {
        const socket = createConnection(Number(node.address.split(':')[1]), '127.0.0.1');
        socket.on('error', () => {});
        socket.on('close', () => (socket.over = true));
        taken.push(socket);
    };
    for (let i = 0; i < 80; i += 1) call();
    await cluster.until(() => taken.filter((s) => s.over).length >= 30, 5000, 'those who are too many are refused');
    // Whatever is given back is wanted at once.
    const calling = setInterval(call, 5);
    cluster.proxies[0].cut({ refuse: false });
    await cluster.complete(room, [await play[0].publish(room, 'there again')]);
    await pause(bounds.crash);
    await cluster.complete(room, [await play[0].publish(room, 'and still')]);
    clearInterval(calling);
    for (const socket of taken) socket.destroy();
    assert.deepEqual(events(stay, since), []);
}, { nodes: 2, on: everywhere, between: true });

// ---------------------------------------------------------------- F26, F28: the log, the configuration

// A pipe that is full from the beginning and that nobody reads.
function fullPipe() {
    const path = join(tmpdir(), `starling-log-${process.pid}-${Math.random().toString(36).slice(2)}`);
    execFileSync('mkfifo', [path]);
    const filler = openSync(path, modes.O_RDWR | modes.O_NONBLOCK);
    try {
        for (;;) writeSync(filler, 'x'.repeat(4096));
    } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
    }
    const end = openSync(path, modes.O_RDWR);
    unlinkSync(path);
    return end;
}

for (const [what, stderr] of [['pipe that nobody reads', fullPipe], ['disk that is full', () => openSync('/dev/full', 'w')]]) {
    fault(`F26 the log goes to a ${what}: no loop waits for it`, async (cluster) => {
        const { stay, play } = await crowd(cluster, { members: [['a', 0, {}], ['b', 1, {}]], watchers: 2 });
        const published = [];
        // Of the node with the log, and of the other one in the same moments: what else the machine does falls on both.
        const times = [[], []];
        let refused = 0;
        while (refused < 300) {
            for (const i of [0, 1]) {
                // Each refusal is a line.
                for (let k = 0; k < 5; k += 1) refused += (await cluster.nodes[i].get('/v1/channels', { key: 'wrong' })).status === 401 && i === 0;
                const at = performance.now();
                published.push(await play[i].publish(room, 1));
                times[i].push(performance.now() - at);
            }
        }
        await cluster.complete(room, published.slice(-90));
        // Of sixty each: the longest alone is what else the machine did.
        const [here, there] = times.map((values) => percentile(values, 0.95));
        note(`${refused} refusals; publishes p95 ${here.toFixed(1)} ms, on the other node ${there.toFixed(1)} ms, ${metric(await metrics(cluster.nodes[0]), 'starling_log_lines_dropped_total')} lines dropped`);
        assert.ok(here < Math.max(100, 3 * there), `p95 ${here} ms, on the other node ${there} ms`);
        assert.equal(stay[0].of(room, 'leave').length, 0);
        cluster.nodes[0].down = true;
        cluster.nodes[0].signal('SIGTERM');
        const code = await Promise.race([cluster.nodes[0].exited.then((end) => end.code), pause(9000)]);
        assert.equal(code, 0, 'it ends, log or not');
    }, { nodes: 2, on: everywhere, flags: ['--limits.frames_per_second=10000'], options: (i) => (i === 0 ? { stderr: stderr() } : {}) });
}

const spaces = namespace('', [everything, 'history = { size = 100, ttl_s = 3600 }']);

fault('F28 reload with a broken file on every node: what was holds, and the log and a metric tell', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}], ['b', 1, {}]] });
    const speaking = speak(play[0], { every: 10 });
    const refused = async (node) => metric(await metrics(node), 'starling_reloads_total\\{result="refused"\\}');
    for (const [n, broken] of ['[[apps', toml(spaces).replace('"subscribe"', '"subscribing"'), `unknown = 1\n${toml(spaces)}`].entries()) {
        for (const node of cluster.nodes) {
            writeFileSync(node.file, broken);
            node.signal('SIGHUP');
        }
        for (const node of cluster.nodes) {
            await cluster.until(async () => (await refused(node)) === n + 1, 3000, () => node.errors.slice(-600) + `a refusal is counted of ${JSON.stringify(broken.slice(0, 40))}`);
            await cluster.until(() => node.errors.split('reload refused').length === n + 2, 3000, 'the log tells it');
        }
    }
    for (const node of cluster.nodes) {
        writeFileSync(node.file, toml(namespace('', [everything, 'history = { size = 7, ttl_s = 3600 }'])));
        node.signal('SIGHUP');
        await cluster.until(async () => metric(await metrics(node), 'starling_reloads_total\\{result="taken"\\}') === 1, 3000, 'a good one is taken');
    }
    await cluster.until(() => speaking.published.length > 30);
    await cluster.complete(room, await speaking.end());
    const { json } = await cluster.nodes[0].get(`/v1/channels/${encodeURIComponent(room)}/messages?limit=1000`);
    assert.equal(json.messages.length, 7, 'what the good one says');
    assert.deepEqual(events(stay, since), []);
}, { on: everywhere, flags: ['--dev'], options: () => ({ config: toml(spaces) }) });

// ---------------------------------------------------------------- F30: two wire versions

fault('F30 a node of the next wire version among those of this one: every property holds', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['old', 0, {}], ['new', 2, {}]] });
    const versions = [...new Set((await cluster.redis.leases('c')).map((constants) => Number(constants.split('/').at(-1))))].sort();
    assert.equal(versions.length, 2, 'leases of two versions');
    assert.equal(versions[1], versions[0] + 1, 'of this version and of the next one');
    assert.ok((await cluster.redis.leases('z')).includes('new'), 'with a field that this version does not know');
    const speaking = play.map((person) => speak(person, { every: 10 }));
    const guest = async (node) => {
        const person = await cluster.person(`guest${node}`, { channels: [room], node });
        await cluster.until(() => stay.every((p) => p.of(room, 'join', person.user).length === 1), 2000, () => `a join is told: ${events(stay, since)}`);
        await person.leave();
        await cluster.until(() => stay.every((p) => p.of(room, 'leave', person.user).length === 1), 2000, () => `a leave is told: ${events(stay, since)}`);
    };
    for (const node of [0, 2, 1]) await guest(node);
    // Each goes through a fault beside the other.
    for (const node of [2, 0]) {
        cluster.proxies[node].cut({ refuse: false });
        stay[node].cut();
    }
    await cluster.redis.flush();
    await pause(bounds.hold + constants.linger + bounds.settle);
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'old', 'new'], 5000);
    for (const one of speaking) await one.end();
    const published = [await play[0].publish(room, 'last'), await play[1].publish(room, 'last')];
    await cluster.complete(room, published);
    await cluster.honest(room);
    assert.deepEqual(events(stay, since).filter((e) => !e.includes('guest')), []);
    // The new one dies: the old ones see to its users.
    const died = Date.now();
    play[1].stopped = true;
    await cluster.kill(2);
    await cluster.until(() => stay[0].of(room, 'leave', 'new', died).length === 1, bounds.crash, 'who was on it has left');
}, {
    on: everywhere,
    between: true,
    timeout: 40000,
    prepare: (cluster, i) => {
        if (i === 2) cluster.proxies[i].rewrite = nextVersion(constants);
    },
});

await main();

#!/usr/bin/env node
// The faults F1 to F14 on real processes: gateways, a real Redis in one of its three forms, proxies between them, and clients that
// remember everything.
import { assert, main, pause } from '../protocol/harness.mjs';
import { bounds, constants, inline } from './cluster.mjs';
import { crowd, events, everywhere, fault, note, room, usage } from './story.mjs';

usage('faults_test.mjs');

fault('two nodes see each other join, type, speak and leave', async (cluster) => {
    const { stay } = await crowd(cluster);
    const ada = await cluster.person('ada', { channels: [room], node: 1 });
    await cluster.until(() => stay.every((p) => p.of(room, 'join', 'ada').length === 1), 2000, 'ada is seen by all');
    const published = [await ada.publish(room, { text: 'hello' }), await stay[0].publish(room, 2)];
    await cluster.complete(room, published);
    await ada.leave();
    await cluster.until(() => stay.every((p) => p.of(room, 'leave', 'ada').length === 1), 2000, 'ada is gone for all');
}, { on: everywhere });

fault('a second tab on another node is no second join, and one end is no leave', async (cluster) => {
    const { stay, since } = await crowd(cluster);
    const one = await cluster.person('ada', { channels: [room], node: 0 });
    await cluster.until(() => stay.every((p) => p.of(room, 'join', 'ada').length === 1), 2000);
    const two = await cluster.person('ada', { channels: [room], node: 1 });
    one.stopped = true;
    one.cut({ back: false });
    await pause(constants.linger + 500);
    assert.equal(stay[0].of(room, 'leave', 'ada', since).length, 0);
    await two.leave();
    await cluster.until(() => stay.every((p) => p.of(room, 'leave', 'ada').length === 1), 2000, 'leaves at once');
    assert.ok(stay.every((p) => p.of(room, 'join', 'ada').length === 1));
}, { on: everywhere });

fault('F1 kill -9 of one node: leaves of those who are not back, in time and once', async (cluster) => {
    const { stay, play } = await crowd(cluster, {
        members: [['gone', 3, { roam: false }], ['back', 3, {}], ['here', 0, {}]],
        watchers: 3,
    });
    const published = [];
    const speaking = (async () => {
        for (let i = 0; i < 40; i += 1) published.push(await play[2].publish(room, i));
    })();
    play[0].stopped = true;
    const since = Date.now();
    await cluster.kill(3);
    await cluster.until(() => stay.every((p) => p.of(room, 'leave', 'gone').length === 1), bounds.crash, () => `gone has left: ${events(stay, since)}`);
    await speaking;
    await cluster.complete(room, published);
    await pause(constants.linger);
    assert.deepEqual(events(stay, since).filter((e) => !e.endsWith('leave gone')), []);
}, { nodes: 4, on: everywhere });

fault('F2 kill -9 of one node, all clients back within the linger: nothing is told', async (cluster) => {
    const { stay, since } = await crowd(cluster, { members: [['a', 2, {}], ['b', 2, {}]], watchers: 2 });
    await cluster.kill(2);
    await pause(bounds.crash + 500);
    assert.deepEqual(events(stay, since), []);
}, { on: everywhere });

fault('F3 rolling restart under load: no join, no leave, no message lost', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}], ['b', 1, {}], ['c', 2, {}]] });
    const published = [];
    let going = true;
    const speaking = play.map(async (p) => {
        while (going) {
            published.push(await p.publish(room, published.length));
            await pause(20);
        }
    });
    for (let i = 0; i < cluster.nodes.length; i += 1) {
        const old = cluster.nodes[i];
        old.down = true;
        old.signal('SIGTERM');
        const { code } = await old.exited;
        assert.equal(code, 0);
        await cluster.restart(i);
    }
    going = false;
    await Promise.all(speaking);
    await cluster.complete(room, published);
    await pause(bounds.crash);
    assert.deepEqual(events([...stay, ...play], since), []);
    assert.ok(published.every((p) => p.tries <= 2), 'no publish failed after one retry');
}, { on: everywhere });

fault('F3 a node is drained while the next one is out of reach of Redis: no join, no leave', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 2, {}]], watchers: 2 });
    const [a] = play;
    const cutAt = performance.now();
    cluster.proxies[0].cut();
    await cluster.until(async () => (await cluster.nodes[0].publish(room, { data: 1 })).status === 503, 5000, 'it is out of reach');
    a.rooms.get(room).position = undefined;      // A recovery would have to wait for Redis.
    cluster.nodes[2].down = true;
    cluster.nodes[2].signal('SIGTERM');
    await cluster.until(() => a.connects === 2 && a.rooms.get(room).stale && !a.link?.before, 5000, 'a is on the next one, which Redis does not know yet');
    cluster.proxies[0].heal();
    const away = performance.now() - cutAt;
    await pause(bounds.crash);
    // On a machine that is busy with other things the steps above may take a lease: then leaves are told, and rightly.
    if (away < constants.lease - 2 * constants.heartbeat) {
        assert.deepEqual(events(stay, since), []);
    } else {
        note(`out of reach for ${away.toFixed(0)} ms: only the views are judged`);
    }
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
}, { on: everywhere, between: true });

for (const lasts of [Math.round(constants.lease * 0.35), Math.round(constants.lease * 2.4)]) {
    fault(`F4 a node stopped for ${lasts} ms: no ghosts, one view again`, async (cluster) => {
        const { stay } = await crowd(cluster, { members: [['a', 2, { roam: false }]], watchers: 2 });
        cluster.nodes[2].signal('SIGSTOP');
        await pause(lasts);
        cluster.nodes[2].signal('SIGCONT');
        await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
        if (lasts < constants.lease * 0.5) assert.equal(stay[0].of(room, 'leave', 'a').length, 0);
    }, { on: everywhere });
}

fault('F5 replies of Redis lost at random: every property holds', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 2, {}], ['b', 1, {}]], watchers: 2 });
    const published = [];
    for (const proxy of cluster.proxies) {
        proxy.cutChance = 0.2;
        proxy.cutReplies = 15;
    }
    for (let i = 0; i < 60; i += 1) published.push(await play[i % 2].publish(room, i));
    for (const proxy of cluster.proxies) proxy.heal();
    await cluster.agree(room, ['watch0', 'watch1', 'a', 'b'], 5000);
    await cluster.complete(room, published);
    assert.deepEqual(events(stay, since), []);
    // The last connection may have been cut a moment before: until the next one is there, a read is `unavailable`.
    const log = await cluster.until(async () => {
        const answer = await cluster.nodes[0].get(`/v1/channels/${encodeURIComponent(room)}/messages?limit=1000`);
        return answer.status === 200 && answer;
    }, 1000, 'the log can be read within a second');
    assert.equal(log.json.messages.length, 60, 'no publish was made twice');
}, { on: everywhere, between: true });

for (const [way, cut] of [['both ways', (p) => p.cut()], ['one way', (p) => p.inject({ kind: 'drop', way: 'down' })]]) {
    for (const lasts of [constants.heartbeat, Math.round(constants.lease * 0.5), Math.round(constants.lease * 2)]) {
        fault(`F6 a node cut off from Redis for ${lasts} ms, ${way}`, async (cluster) => {
            const { stay, since } = await crowd(cluster, { members: [['a', 2, { roam: false }], ['there', 2, { roam: false }]], watchers: 2 });
            cut(cluster.proxies[2]);
            const fresh = lasts > constants.heartbeat * 4 ? await cluster.person('fresh', { channels: [room], node: 2, roam: false }) : undefined;
            if (lasts > constants.lease) {
                await cluster.until(async () => (await cluster.nodes[2].get('/health/ready', { key: null })).status === 503, 5000, 'ready says 503');
                const there = cluster.people.find((p) => p.user === 'there');
                assert.ok(there.of(room, 'leave').length === 0, 'nobody is told that everybody left');
            }
            await pause(lasts);
            if (lasts < constants.lease * 0.6) assert.deepEqual(events(stay, since), []);
            cluster.proxies[2].heal();
            await cluster.agree(room, ['watch0', 'watch1', 'a', 'there', ...(fresh ? ['fresh'] : [])], 6000);
            await cluster.until(async () => (await cluster.nodes[2].get('/health/ready', { key: null })).status === 200, 5000, 'ready again');
        }, { on: everywhere, between: true });
    }
}

for (const [what, hit] of [
    ['cut', (p) => p.cut({ label: 'pubsub', refuse: false })],
    ['stalled', (p) => p.inject({ kind: 'hold', way: 'down', label: 'pubsub', lasting: false })],
]) {
    fault(`F7 only the pub/sub connection ${what}: noticed, nothing missed`, async (cluster) => {
        const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 3 });
        const published = [];
        const hurt = cluster.proxies[2].piped('pubsub');
        assert.ok(hurt.length > 0);
        hit(cluster.proxies[2]);
        for (let i = 0; i < 10; i += 1) published.push(await play[0].publish(room, i));
        const late = await cluster.person('late', { channels: [room], node: 0 });
        await cluster.until(() => stay[2].of(room, 'join', 'late').length === 1, 3.5 * constants.heartbeat + 1500, 'the cut node sees late');
        await cluster.until(() => cluster.proxies[2].piped('pubsub').every((pipe) => !hurt.includes(pipe)), 3.5 * constants.heartbeat + 1500, 'another connection has taken its place');
        await cluster.complete(room, published, 5000, [...stay, ...play]);
        cluster.proxies[2].heal();
        await late.leave();
        await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a'], 4000);
        assert.deepEqual(events(stay, since).filter((e) => !e.endsWith('late')), []);
    }, { on: everywhere, between: true });
}

fault('F8 Redis killed and restarted empty: no event for those unchanged', async (cluster) => {
    const { stay, since } = await crowd(cluster, { members: [['a', 1, {}], ['leaver', 2, {}]] });
    await cluster.redis.kill();
    const leaver = cluster.people.find((p) => p.user === 'leaver');
    await leaver.leave();
    await pause(300);
    await cluster.redis.launch();
    const back = Date.now();
    const late = await cluster.person('late', { channels: [room], node: 0 });
    // As an event, or in the snapshot of whoever had to subscribe again.
    await cluster.until(() => stay.every((p) => p.members(room).includes('late')), 4000, 'joins are told');
    await cluster.until(() => stay.every((p) => p.of(room, 'leave', 'leaver').length === 1), bounds.hold + constants.linger + bounds.settle + 1000, () => `the leave is told: ${events(stay, since)}`);
    await pause(Math.max(0, back + bounds.hold + constants.linger + bounds.settle + 1000 - Date.now()));
    assert.deepEqual(events(stay, since).filter((e) => !/late|leaver/.test(e)), []);
    await late.leave();
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a'], 4000);
}, { on: everywhere });

fault('F9 FLUSHALL: no event for those unchanged', async (cluster) => {
    const { stay, since } = await crowd(cluster, { members: [['a', 1, {}]] });
    await cluster.redis.flush();
    const late = await cluster.person('late', { channels: [room], node: 0 });
    // As an event, or in the snapshot of whoever had to subscribe again.
    await cluster.until(() => stay.every((p) => p.members(room).includes('late')), 4000, 'joins are told');
    await pause(bounds.hold + constants.linger + bounds.settle + 500);
    assert.deepEqual(events(stay, since).filter((e) => !e.endsWith('join late')), []);
    await late.leave();
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a'], 4000);
}, { on: everywhere });

fault('F12 Redis slow, full, without its scripts: errors with a name, and it heals', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    await cluster.redis.ask('SCRIPT', 'FLUSH');
    const published = [await play[0].publish(room, 'after the scripts are gone')];
    await cluster.redis.ask('CONFIG', 'SET', 'maxmemory', '1mb');
    const answer = await cluster.nodes[0].publish(room, { data: 'x'.repeat(1000) });
    assert.ok([200, 503].includes(answer.status), `${answer.status} ${answer.text}`);
    if (answer.status === 503) assert.equal(answer.json.error.code, 'unavailable');
    await pause(constants.heartbeat * 3);
    await cluster.redis.ask('CONFIG', 'SET', 'maxmemory', '0');
    published.push(await play[0].publish(room, 'with memory'));
    inline(await cluster.redis.primary(room), `DEBUG SLEEP ${(constants.lease * 0.4) / 1000}`);
    published.push(await play[0].publish(room, 'while it is slow'));
    await cluster.complete(room, published);
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
    assert.deepEqual(events(stay, since), []);
}, { nodes: 2, on: everywhere });

fault('F14 Redis ends our pub/sub connection: no silent gap', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    const published = [];
    for (let i = 0; i < 20; i += 1) {
        if (i % 5 === 2) await cluster.redis.ask('CLIENT', 'KILL', 'TYPE', 'pubsub');
        published.push(await play[0].publish(room, i));
    }
    await cluster.complete(room, published);
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 5000);
    assert.deepEqual(events(stay, since), []);
}, { nodes: 2, on: everywhere });

fault('a node without Redis for longer than shed_after_ms sends its clients away with 4010', async (cluster) => {
    const { stay } = await crowd(cluster, { members: [['a', 1, {}]], watchers: 1 });
    const before = cluster.people.find((p) => p.user === 'a').connects;
    const alone = await cluster.nodes[1].connect('alone');
    cluster.proxies[1].cut();
    await alone.closesWith(4010, 1500 + constants.heartbeat * 3 + 1000);
    cluster.nodes[1].down = true;            // As a load balancer that reads /health/ready.
    await cluster.until(() => cluster.people.find((p) => p.user === 'a').connects > before, 5000, 'a is on the other node');
    await cluster.agree(room, ['watch0', 'a'], 5000);
    assert.equal(stay[0].of(room, 'leave', 'a').length, 0, 'who came back in time never left');
}, { nodes: 2, flags: ['--cluster.shed_after_ms=1500'], on: everywhere, between: true });

fault('plain PUBLISH in Redis reaches subscribers on every node, and one connection', async (cluster) => {
    const { stay } = await crowd(cluster, { watchers: 2 });
    await cluster.redis.publish(`ws:pubsub:${room}`, '{"from":"redis"}');
    await cluster.redis.publish(`ws:pubsub:${room}`, '{"broken":');
    await cluster.until(() => stay.every((p) => p.rooms.get(room).messages.length === 1), 2000, 'both have it');
    assert.deepEqual(stay[1].rooms.get(room).messages[0].data, { from: 'redis' });
}, { nodes: 2, on: everywhere });

fault('F10, F11 a failover that loses acknowledged writes: nobody is told a lie, nobody leaves', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 3 });
    const published = [];
    for (let i = 0; i < 5; i += 1) published.push(await play[0].publish(room, i));
    const { redis } = cluster;
    const old = await redis.primary(room);
    const replicas = redis.replicas(old);
    for (const port of replicas) await redis.say('pause', port);
    // Acknowledged, and lost: no replica hears of them.
    const lost = [];
    for (let i = 0; i < 5; i += 1) lost.push(await play[0].publish(room, `lost ${i}`));
    await redis.say('kill', old);
    for (const port of replicas) await redis.say('resume', port);
    const after = [];
    for (let i = 0; i < 5; i += 1) after.push(await play[0].publish(room, `after ${i}`, { tries: 300 }));
    await redis.say('restart', old);
    await cluster.agree(room, ['watch0', 'watch1', 'watch2', 'a'], 10000);
    await cluster.until(() => cluster.people.every((p) => p.rooms.get(room).ids.has(after.at(-1).messageId)), 10000, 'all have the newest message');
    // A watcher who comes back now asks with a position that the log may have lost.
    for (const person of stay) person.cut();
    await pause(300);
    await cluster.until(() => cluster.people.every((p) => p.link && p.link.subscribed.size === 1), 10000, 'all are back');
    await cluster.honest(room);
    await pause(bounds.hold);
    assert.deepEqual(events([...stay, ...play], since).filter((e) => e.includes('leave')), []);
}, { on: ['sentinel', 'cluster'] });

fault('F11 a slot moved under load: nothing lost', async (cluster) => {
    const { stay, play, since } = await crowd(cluster, { members: [['a', 0, {}]], watchers: 2 });
    const published = [];
    let going = true;
    const speaking = (async () => {
        while (going) published.push(await play[0].publish(room, published.length, { tries: 300 }));
    })();
    const slot = await cluster.redis.slot(room);
    for (let i = 0; i < 3; i += 1) {
        await cluster.redis.say('move-slot', slot);
        await pause(300);
    }
    going = false;
    await speaking;
    await cluster.complete(room, published.slice(-50), 10000);
    await cluster.agree(room, ['watch0', 'watch1', 'a'], 10000);
    await pause(bounds.hold);
    assert.deepEqual(events([...stay, ...play], since), []);
}, { nodes: 2, on: ['cluster'] });

await main();

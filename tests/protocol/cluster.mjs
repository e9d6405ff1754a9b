// What holds over several nodes without a fault: limits that are the cluster's. Needs redis-server.
import { alone, assert, eventually, main, Server } from './harness.mjs';
import { Redis } from '../faults/cluster.mjs';

async function nodes(count, flags, story) {
    const redis = await Redis.start();
    const words = ['--engine.type=redis', `--redis.url=redis://127.0.0.1:${redis.port}/0`, '--presence.linger_ms=1000', '--cluster.heartbeat_ms=250',
        '--cluster.lease_ms=1800', ...flags];
    const started = [];
    try {
        for (let n = 0; n < count; n += 1) started.push(await Server.start(words));
        for (const server of started) {
            await eventually(async () => (await server.get('/v1/nodes')).json.nodes.length === count, 10000, 'all nodes know each other');
        }
        await story(started, redis);
    } finally {
        for (const server of started) await server.stop();
        await redis.stop();
    }
}

async function refused(server, fields) {
    const client = await server.connect(null);
    client.send({ type: 'connect', id: 1, ...fields });
    const error = await client.waitFor('error');
    assert.equal(error.code, 'limit_exceeded');
    assert.match(error.message, /connections_per_user is \d/);
    await client.closesWith(4006);
}

alone('connections_per_user counts over the cluster', () => nodes(3, ['--limits.connections_per_user=2'], async ([a, b, c]) => {
    const one = await a.connect('alice');
    await b.connect('alice');
    await refused(c, { user: 'alice' });
    await refused(a, { user: 'alice' });
    await c.connect('bob');
    // A place that is free again is free on every node.
    await one.close();
    const three = await eventually(() => c.connect('alice').catch(() => undefined), 5000, 'a free place');
    await refused(a, { user: 'alice' });
    // Who resumes takes the place of the old connection, which the other node may not have missed yet.
    const back = await a.connect({ user: 'alice', resume: three.hello.resume });
    assert.equal(back.hello.resumed, true);
    await three.close();
    // A node that dies answers no more: its connections keep nobody out, and nobody waits long.
    b.signal('SIGKILL');
    const began = Date.now();
    await a.connect('alice');
    assert.ok(Date.now() - began < 1500, 'the node that died was waited for');
    await refused(c, { user: 'alice' });
}));

alone('two nodes do not both give the last place away', () => nodes(2, ['--limits.connections_per_user=1'], async ([a, b]) => {
    for (let round = 0; round < 40; round += 1) {
        const user = `u${round}`;
        const ends = await Promise.allSettled([a.connect(user), b.connect(user)]);
        const open = ends.filter((end) => end.status === 'fulfilled');
        assert.equal(open.length, 1, JSON.stringify(ends.map((end) => end.reason?.message ?? 'open')));
    }
}));

const away = ['--cluster.shed_after_ms=1500'];

alone('without the engine: unavailable where it has to keep something, then 4010', () => nodes(2, away, async ([a, b], redis) => {
    const alice = await a.connect('alice');
    const bob = await b.connect('bob');
    for (const client of [alice, bob]) await client.subscribe('room', { presence: true });
    const { connectionId } = bob.hello;
    redis.pause();
    const error = await alice.refused('unavailable', 'publish', { channel: 'room', data: 1, key: 'k' });
    assert.equal(error.retryable, true);
    const answer = await a.publish('room', { data: 1 });
    assert.equal(answer.status, 503);
    assert.equal(answer.json.error.code, 'unavailable');
    const direct = await a.post(`/v1/connections/${connectionId}/messages`, { data: 1 });
    assert.equal(direct.status, 503);
    assert.equal(direct.json.error.code, 'timeout');
    await Promise.all([alice.closesWith(4010, 8000), bob.closesWith(4010, 8000)]);
    assert.equal((await a.get('/health/ready', { key: null })).status, 503);
    // Its presence lingers: with the engine back, who returns has not left.
    redis.resume();
    await eventually(async () => (await a.get('/health/ready', { key: null })).status === 200, 8000);
    const again = await a.connect('alice');
    await again.subscribe('room', { presence: true });
    assert.equal(again.of('presence.leave').filter((frame) => frame.userId === 'alice').length, 0);
}));

await main();

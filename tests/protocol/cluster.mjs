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
        await story(started);
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

await main();

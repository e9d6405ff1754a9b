// Two nodes on one Redis: a node that goes takes nothing with it, and a Redis that lost all is told as a gap.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cable, client, done, pause, publish, startGateway, startRedis, until, type Gateway, type Redis } from './process';

const node = (redis: Redis): Promise<Gateway> => startGateway([
    '--engine.type=redis', `--redis.url=redis://127.0.0.1:${redis.port}`, '--server.drain.delay_ms=100', '--server.drain.window_ms=1000',
]);

test('a rolling restart: nothing lost, nothing twice, and nobody is seen to leave', async () => {
    const redis = await startRedis();
    const [first, second] = [await node(redis), await node(redis)];
    const cable = await Cable.to(first);
    const ada = client(cable.url, 'ada');
    const bob = client(second.url, 'bob');
    const [doc, other] = [ada.channel('doc:1'), bob.channel('doc:1')];
    const heard: unknown[] = [];
    const states = new Set<string>();
    const bad: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.presence.enter({ name: 'Ada' });
    doc.on('gap', (gap) => bad.push(gap));
    await Promise.all([doc.ready(), (other.presence.on(() => {}), other.ready())]);
    await until(() => other.presence.count === 1, 'ada is not there');
    ada.on('state', (view) => states.add(view.state));
    other.presence.on((change) => bad.push(change));
    cable.target = second.port;
    first.child.kill('SIGTERM');
    const nodeId = ada.connection.nodeId;
    let n = 0;
    while (ada.connection.nodeId === nodeId || n < 50) {
        await publish(second, 'doc:1', ++n);
        await pause(20);
        assert.ok(n < 1000, 'it stays');
    }
    const mine = await doc.publish('mine');
    assert.equal(mine.offset, n + 1);
    await until(() => heard.length === n + 1, () => `heard ${heard.length} of ${n + 1}`);
    assert.deepEqual(heard, [...Array.from({ length: n }, (_, i) => i + 1), 'mine']);
    // On a slow machine the old node may be gone before the new one answers; waiting is what it never does.
    assert.ok(!states.has('waiting') && !states.has('closed'), [...states].join());
    assert.equal(await first.exited, 0);
    await pause(500);
    assert.deepEqual(bad, []);
    cable.close();
    done(second);
    await redis.stop();
});

test('a node that dies: what was missed is caught up on the other', async () => {
    const redis = await startRedis();
    const [first, second] = [await node(redis), await node(redis)];
    const cable = await Cable.to(first);
    const ada = client(cable.url, 'ada');
    const doc = ada.channel('doc:1');
    const heard: unknown[] = [];
    const gaps: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.on('gap', (gap) => gaps.push(gap));
    await doc.ready();
    await publish(first, 'doc:1', 1);
    await until(() => heard.length === 1, 'nothing comes');
    cable.target = second.port;
    await first.stop();
    await publish(second, 'doc:1', 2);
    await until(() => heard.length === 2, 'what was missed does not come');
    assert.deepEqual([heard, gaps], [[1, 2], []]);
    cable.close();
    done(second);
    await redis.stop();
});

test('a Redis that comes back empty: one gap, then it goes on', async () => {
    let redis = await startRedis();
    const gateway = await node(redis);
    const ada = client(gateway.url, 'ada');
    const doc = ada.channel('doc:1');
    const heard: unknown[] = [];
    const gaps: string[] = [];
    const changes: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.on('gap', (gap) => gaps.push(gap.reason));
    doc.presence.enter({ name: 'Ada' });
    await doc.ready();
    await publish(gateway, 'doc:1', 1);
    await until(() => heard.length === 1, 'nothing comes');
    doc.presence.on((change) => changes.push(change));
    await redis.stop();
    const waiting = doc.publish('while it was away');
    await pause(500);
    redis = await startRedis(redis.port);
    assert.ok((await waiting).messageId);
    await publish(gateway, 'doc:1', 2);
    await until(() => heard.at(-1) === 2, () => `heard ${heard}`, 30_000);
    assert.equal(gaps.length, 1, gaps.join());
    assert.deepEqual(new Set(heard).size, heard.length);
    await until(() => doc.presence.count === 1, 'ada is not there');
    assert.deepEqual(changes, []);
    done(gateway);
    await redis.stop();
});

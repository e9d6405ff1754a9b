// The client against a real gateway: restarts, cut and silent networks, tokens that expire, drain.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Cable, client, done, jwt, pause, post, present, publish, startGateway, until, withTokens } from './process';

test('the whole of it: messages, presence, typing, history, notifications, live values', async () => {
    const gateway = await startGateway();
    const ada = client(gateway.url, 'ada');
    const bob = client(gateway.url, 'bob');
    const [doc, other] = [ada.channel('doc:1'), bob.channel('doc:1')];
    const heard: unknown[] = [];
    doc.subscribe((message) => heard.push([message.userId, message.data]));
    doc.presence.enter({ name: 'Ada' });
    other.presence.enter({ name: 'Bob' });
    other.typing.on(() => {});
    await Promise.all([doc.ready(), other.ready()]);
    await until(() => doc.presence.count === 2 && other.presence.others.length === 1, 'they do not see each other');
    assert.deepEqual(doc.presence.others.map((one) => one.data), [{ name: 'Bob' }]);
    other.presence.update({ name: 'Robert' });
    await until(() => doc.presence.others[0]?.data.name === 'Robert', 'the new name does not come');
    doc.typing.keystroke();
    await until(() => other.typing.users.join() === 'ada', 'nobody types');
    const result = await doc.publish({ text: 'hi' }, { key: 'mine' });
    assert.equal((await doc.publish({ text: 'hi' }, { key: 'mine' })).messageId, result.messageId);
    await until(() => other.typing.users.length === 0, 'typing goes on after the message');
    await until(() => heard.length === 1, 'the message does not come');
    assert.deepEqual(heard, [['ada', { text: 'hi' }]]);
    const history = await other.history({ limit: 5 });
    assert.deepEqual(history.messages.map((message) => message.data), [{ text: 'hi' }]);
    ada.notifications.on(() => {});
    await post(gateway, '/v1/users/ada/notifications', { data: 'read me' });
    await until(() => ada.notifications.unread === 1, 'the notification does not come');
    const phone = client(gateway.url, 'ada');
    phone.notifications.on(() => {});
    await until(() => phone.notifications.unread === 1, 'the other device does not show it');
    await ada.notifications.acknowledge();
    await until(() => phone.notifications.unread === 0, 'the other device does not hear that it is read');
    await assert.rejects(doc.publish('x'.repeat(100_000)), { code: 'too_large', retryable: false });
    // Past the limit of a frame the gateway ends the connection; the client comes back without it.
    await assert.rejects(doc.publish('x'.repeat(1_000_000)), { code: 'too_large', retryable: false });
    assert.ok((await doc.publish('goes on')).messageId);
    // Entering and leaving while subscribed.
    other.presence.leave();
    await until(() => doc.presence.count === 1, 'bob stays');
    done(gateway);
});

test('killed and started anew: all is rejoined, what waited is published once, and the gap is told', async () => {
    let gateway = await startGateway();
    const ada = client(gateway.url, 'ada');
    const doc = ada.channel('doc:1');
    const heard: unknown[] = [];
    const gaps: string[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.on('gap', (gap) => gaps.push(gap.reason));
    doc.presence.enter('here');
    await doc.ready();
    await doc.publish(1);
    await gateway.stop();
    await until(() => ada.state === 'waiting', 'it did not notice');
    const waiting = [doc.publish(2), doc.publish(3)];
    await pause(500);
    gateway = await startGateway([], { port: gateway.port });
    await Promise.all(waiting);
    await until(() => heard.length === 3, () => `heard ${heard}`);
    assert.deepEqual(heard, [1, 2, 3]);
    assert.deepEqual(gaps, ['epoch']);
    assert.equal(doc.presence.count, 1);
    done(gateway);
});

test('a cut that is mended within the linger: nothing lost, nothing twice, and nobody saw it', async () => {
    // Three cuts in a row let the backoff grow past the default of 5 s at times.
    const gateway = await startGateway(['--presence.linger_ms=60000', '--cluster.lease_ms=90000']);
    const cable = await Cable.to(gateway);
    const ada = client(cable.url, 'ada');
    const bob = client(gateway.url, 'bob');
    const [doc, other] = [ada.channel('doc:1'), bob.channel('doc:1')];
    const heard: unknown[] = [];
    const seen: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.presence.enter({ name: 'Ada' });
    other.presence.on((change) => seen.push(change));
    await Promise.all([doc.ready(), other.ready()]);
    await until(() => other.presence.count === 1, 'ada is not there');
    seen.length = 0;
    for (let round = 0; round < 3; round += 1) {
        await publish(gateway, 'doc:1', `${round} before`);
        cable.cut();
        await publish(gateway, 'doc:1', `${round} while`);
        const mine = doc.publish(`${round} mine`);
        await pause(200);
        cable.mend();
        await mine;
        await publish(gateway, 'doc:1', `${round} after`);
    }
    await until(() => heard.length === 12, () => `heard ${heard}`);
    assert.deepEqual(heard, [0, 1, 2].flatMap((round) => ['before', 'while', 'mine', 'after'].map((word) => `${round} ${word}`)));
    await pause(200);
    assert.deepEqual(seen, []);
    cable.close();
    done(gateway);
});

test('a network that swallows without a word is found out', async () => {
    const gateway = await startGateway(['--server.ping_interval_s=1']);
    const cable = await Cable.to(gateway);
    const ada = client(cable.url, 'ada');
    const doc = ada.channel('doc:1');
    const heard: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    await doc.ready();
    cable.stalled = true;
    await publish(gateway, 'doc:1', 'unheard');
    await until(() => ada.state !== 'online', 'it still believes');
    cable.cut();
    cable.mend();
    await until(() => heard.length === 1, 'the missed message does not come');
    cable.close();
    done(gateway);
});

test('a token is refreshed in time on the same connection', async () => {
    const gateway = await startGateway([], { config: withTokens() });
    let asked = 0;
    const token = (): string => { asked += 1; return jwt({ sub: 'ada', exp: Math.floor(Date.now() / 1000) + 3 }); };
    const ada = client(gateway.url, undefined, { token });
    const doc = ada.channel('doc:1');
    const states: string[] = [];
    doc.subscribe(() => {});
    await doc.ready();
    const { connectionId } = ada.connection;
    ada.on('state', (view) => states.push(view.state));
    await pause(8_000);
    assert.equal(ada.connection.connectionId, connectionId);
    assert.deepEqual(states, []);
    assert.ok(asked >= 3, `${asked} tokens`);
    await doc.publish('still allowed');
    done(gateway);
});

test('a token that expired is replaced by a new connection, or is the end', async () => {
    const gateway = await startGateway(['--auth.refresh_grace_ms=500'], { config: withTokens() });
    const now = (): number => Math.floor(Date.now() / 1000);
    let asked = 0;
    const ada = client(gateway.url, undefined, { token: () => {
        asked += 1;
        if (asked === 2) { throw new Error('the backend is away'); }
        return jwt({ sub: 'ada', exp: now() + (asked < 2 ? 2 : 600) });
    } });
    ada.connect();
    await until(() => ada.state === 'online', () => `it is ${ada.state} ${ada.connection.error?.code}`);
    const first = ada.connection.connectionId;
    await until(() => ada.state === 'online' && ada.connection.connectionId !== first, () => `it is ${ada.state}`);
    assert.equal(asked, 3);
    const fixed = client(gateway.url, undefined, { token: jwt({ sub: 'bob', exp: now() + 2 }) });
    fixed.connect();
    await until(() => fixed.state === 'online', () => `it is ${fixed.state}`);
    await until(() => fixed.state === 'closed', () => `it is ${fixed.state}`);
    assert.equal(fixed.connection.error!.code, 'token_expired');
    const wrong = client(gateway.url, undefined, { token: 'nonsense' });
    wrong.connect();
    await until(() => wrong.state === 'closed', () => `it is ${wrong.state}`);
    assert.equal(wrong.connection.error!.code, 'unauthenticated');
    done(gateway);
});

test('what a token does not allow is refused, and the rest goes on', async () => {
    const config = withTokens().replace('allow = ["subscribe", "publish", "presence", "typing", "history"]', 'allow = []');
    const gateway = await startGateway([], { config });
    const ada = client(gateway.url, undefined, { token: jwt({ sub: 'ada', can: { 'doc:*': ['subscribe', 'publish'] } }) });
    const [doc, secret] = [ada.channel('doc:1'), ada.channel('secret')];
    const errors: string[] = [];
    secret.on('error', (error) => errors.push(error.code));
    secret.subscribe(() => {});
    const heard: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    await assert.rejects(secret.ready(), { code: 'forbidden', channel: 'secret' });
    await doc.ready();
    await doc.publish(1);
    await until(() => heard.length === 1, 'it does not go on');
    assert.deepEqual(errors, ['forbidden']);
    await assert.rejects(doc.history(), { code: 'forbidden' });
    done(gateway);
});

test('what the token subscribes is taken over, without a gap', async () => {
    const gateway = await startGateway([], { config: withTokens() });
    const ada = client(gateway.url, undefined, { token: () => jwt({ sub: 'ada', channels: ['doc:1'] }) });
    const cable = ada.channel('doc:1');
    const heard: unknown[] = [];
    cable.subscribe((message) => heard.push(message.data));
    await cable.ready();
    await publish(gateway, 'doc:1', 1);
    await until(() => heard.length === 1, 'nothing comes');
    done(gateway);
});

test('a node that is drained is left for the next before it goes', async () => {
    const flags = ['--server.drain.delay_ms=100', '--server.drain.window_ms=1000'];
    const [first, second] = [await startGateway(flags), await startGateway(flags)];
    const cable = await Cable.to(first);
    const ada = client(cable.url, 'ada');
    const doc = ada.channel('doc:1');
    doc.presence.enter();
    const heard: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    await doc.ready();
    const node = ada.connection.nodeId;
    const states = new Set<string>();
    ada.on('state', (view) => states.add(view.state));
    cable.target = second.port;
    first.child.kill('SIGTERM');
    await until(() => ada.connection.nodeId !== node, 'it stays');
    assert.ok(!states.has('waiting') && !states.has('closed'), [...states].join());
    // The nodes are no cluster: what comes before the subscription is there is not for it. (The channel is live all the while.)
    await until(async () => await present(second, 'doc:1') === 1, 'nobody is present there');
    await publish(second, 'doc:1', 'from the second');
    await until(() => heard.length === 1, 'nothing comes');
    assert.equal(await first.exited, 0);
    cable.close();
    done(second);
});

test('a program ends by itself once its client is closed', () => {
    const program = `
        import { createClient } from ${JSON.stringify(`${process.cwd()}/dist/index.js`)};
        import WebSocket from ${JSON.stringify(`${process.cwd()}/node_modules/ws/wrapper.mjs`)};
        const idle = createClient({ url: 'http://127.0.0.1:9', WebSocket });
        const client = createClient({ url: 'http://127.0.0.1:9', user: 'ada', WebSocket });
        const doc = client.channel('doc:1');
        doc.subscribe(() => {})();
        doc.publish(1).catch((error) => console.log(error.code));
        setTimeout(() => client.close(), 300);`;
    const began = Date.now();
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 60_000, encoding: 'utf8' });
    assert.deepEqual([run.status, run.stdout.trim()], [0, 'closed'], run.stderr);
    assert.ok(Date.now() - began < 30_000);
});

test('the package works by require too', () => {
    const run = spawnSync(process.execPath, ['-e', `
        const { createClient, StarlingError } = require('./dist/index.cjs');
        const client = createClient({ url: 'http://127.0.0.1:9' });
        console.log(client.state, typeof StarlingError, typeof require('./dist/react.cjs').useMessages);`], { encoding: 'utf8' });
    assert.equal(run.stdout.trim(), 'idle function function', run.stderr);
});

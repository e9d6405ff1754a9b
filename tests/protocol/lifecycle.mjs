// A gateway's life: ready, reload, drain and end.
import { writeFileSync } from 'node:fs';
import { alone, assert, eventually, everything, fresh, jwt, main, namespace, pause, quiet, Server, toml, within } from './harness.mjs';

const as = (user) => ({ token: jwt({ sub: user }) });

async function during(story, ...start) {
    const server = await Server.start(...start);
    try {
        await story(server);
    } finally {
        await server.stop();
    }
}

alone('live and ready on both listeners, metrics on the admin one alone', () => during(async (server) => {
    for (const admin of [false, true]) {
        for (const path of ['/health/live', '/health/ready']) {
            const answer = await server.get(path, { key: null, admin });
            assert.equal(answer.status, 200, `${path} ${answer.text}`);
            assert.deepEqual(answer.json, { status: 'ok' });
        }
    }
    await server.connect('alice');
    const metrics = await server.get('/metrics', { key: null, admin: true });
    assert.equal(metrics.status, 200);
    for (const name of [
        'starling_connections', 'starling_connections_opened_total', 'starling_messages_received_total',
        'starling_messages_sent_total', 'starling_channels', 'starling_presence_members', 'starling_slow_consumers_total',
        'starling_queue_bytes', 'starling_engine_up', 'starling_loop_delay_seconds', 'starling_build_info',
        'starling_publish_to_delivery_seconds', 'starling_join_to_seen_seconds', 'starling_ingress_dropped_total',
    ]) assert.match(metrics.text, new RegExp(`^# TYPE ${name} `, 'm'), `metric ${name}`);
    assert.match(metrics.text, /^starling_connections(\{[^}]*\})? 1$/m);
    assert.equal((await server.get('/metrics', { key: null })).status, 404);
}));

const drain = ['--server.drain.delay_ms=300', '--server.drain.window_ms=1500', '--presence.linger_ms=500'];

alone('a drain tells every connection its own delay, then ends with 0', () => during(async (server) => {
    const clients = [];
    for (let n = 0; n < 300; n += 50) {
        clients.push(...await Promise.all(Array.from({ length: 50 }, (_, i) => server.connect(`u${n + i}`))));
    }
    const channel = fresh();
    const first = clients[0];
    await first.subscribe(channel, { presence: true });
    await clients[1].subscribe(channel, { presence: true });
    const at = Date.now();
    server.signal('SIGTERM');
    await eventually(async () => (await server.get('/health/ready', { key: null })).status === 503, 2000);
    assert.equal((await server.get('/health/live', { key: null })).status, 200);
    await assert.rejects(server.connect('late'), /503/);
    const told = await Promise.all(clients.map((client) => client.waitFor('reconnect', 4000)));
    assert.ok(told.every((frame) => frame.at - at >= 250), 'ready was 503 for delay_ms before the first');
    const delays = told.map((frame) => frame.delay);
    assert.ok(delays.every((delay) => delay >= 0 && delay <= 1500), `delays up to ${Math.max(...delays)}`);
    assert.ok(new Set(delays).size > 100, `own delays: ${new Set(delays).size} different ones`);
    assert.ok(Math.max(...delays) - Math.min(...delays) > 700, 'spread over the window');
    // Until its delay + 1 s it is served as ever.
    const reply = await first.ok('publish', { channel, data: 1 });
    assert.equal(reply.type, 'published');
    const ends = await Promise.all(clients.map((client, i) => client.closed.then(({ code }) => ({ code, late: Date.now() - told[i].at - delays[i] }))));
    assert.ok(ends.every(({ code }) => code === 1012), `codes ${[...new Set(ends.map((e) => e.code))]}`);
    const late = ends.map((end) => end.late);
    // A busy machine may read `reconnect` a good while after it was sent.
    assert.ok(Math.min(...late) >= 500, `one was closed ${Math.min(...late)} ms after its delay`);
    assert.ok(Math.max(...late) <= 2500, `one was closed ${Math.max(...late)} ms after its delay`);
    assert.equal(clients[1].of('presence.leave').length, 0, 'a drain shows no leave');
    const end = await within(5000, 'the process goes on', server.exited);
    assert.deepEqual(end, { code: 0, signal: null });
}, drain));

alone('SIGTERM without connections ends with 0', () => during(async (server) => {
    server.signal('SIGTERM');
    assert.deepEqual(await within(5000, 'the process goes on', server.exited), { code: 0, signal: null });
}, drain));

const first = toml(namespace('', [everything]) + namespace('a', ['allow = ["subscribe"]']));
const second = toml(namespace('', [everything]) + namespace('a', [everything]), '[limits]\ndata_bytes = 1000\n').replace('["dev"]', '["dev", "second"]');

alone('SIGHUP reads namespaces, keys and limits again without a lost connection', () => during(async (server) => {
    const alice = await server.connect(as('alice'));
    await alice.subscribe('a:1');
    await alice.refused('forbidden', 'publish', { channel: 'a:1', data: 1 });
    assert.equal((await server.get('/v1/nodes', { key: 'second' })).status, 401);
    writeFileSync(server.file, second);
    server.signal('SIGHUP');
    await eventually(async () => (await server.get('/v1/nodes', { key: 'second' })).status === 200);
    await eventually(async () => (await alice.request('publish', { channel: 'a:1', data: 1 })).type === 'published');
    await alice.waitFor('message');
    await alice.refused('too_large', 'publish', { channel: 'a:1', data: 'x'.repeat(1000) });
}, [], { config: first }));

alone('a broken file changes nothing', () => during(async (server) => {
    const alice = await server.connect(as('alice'));
    for (const broken of [first.replace('allow', 'alow'), 'this is [ not TOML', second.replace('data_bytes = 1000', 'data_bytes = "x"')]) {
        writeFileSync(server.file, broken);
        server.signal('SIGHUP');
        await pause(150);
        assert.equal((await server.get('/v1/nodes', { key: 'second' })).status, 401);
        await alice.refused('forbidden', 'publish', { channel: 'a:1', data: 1 });
        await server.connect(as('bob'));
    }
    assert.match(server.errors + server.output, /alow/, 'the log says what is wrong');
}, [], { config: first }));

alone('the environment is between the file and the flags', () => during(async (server) => {
    const alice = await server.connect(as('alice'));
    const error = await alice.refused('too_large', 'publish', { channel: 'x', data: 'x'.repeat(500) });
    assert.match(error.message, /300/);
}, ['--limits.data_bytes=300'], { config: second, env: { STARLING_LIMITS_DATA_BYTES: '200' } }));

alone('an environment variable configures', () => during(async (server) => {
    const alice = await server.connect(as('alice'));
    const error = await alice.refused('too_large', 'publish', { channel: 'x', data: 'x'.repeat(500) });
    assert.match(error.message, /200/);
}, [], { config: second, env: { STARLING_LIMITS_DATA_BYTES: '200' } }));

alone('two apps are apart', async () => {
    const app = (id, key) => `[[apps]]\nid = "${id}"\nkey = "p-${id}"\nsecret = "app-secret-that-is-not-short-at-all-really"\napi_keys = ["${key}"]\n  [[apps.token_keys]]\n  algorithm = "HS256"\n  secret = "a secret of more than thirty-two bytes for tests"\n${namespace('', [everything])}`;
    await during(async (server) => {
        const one = await server.connect(as('alice'));
        const two = await server.connect(as('alice'), { path: '/v1/ws?app=other' });
        await one.subscribe('room', { presence: true });
        const reply = await two.subscribe('room', { presence: true });
        assert.equal(reply.presence.count, 1);
        await server.publish('room', { data: 'for default' }, { key: 'k1' });
        await server.publish('room', { data: 'for other' }, { key: 'k2' });
        assert.equal((await one.waitFor('message')).data, 'for default');
        assert.equal((await two.waitFor('message')).data, 'for other');
        const { connections } = (await server.get('/v1/users/alice', { key: 'k2' })).json;
        assert.deepEqual(connections.map((c) => c.connectionId), [two.hello.connectionId]);
        await quiet(one, two);
        assert.equal(one.of('message').length + two.of('message').length, 2);
    }, [], { config: app('default', 'k1') + app('other', 'k2') });
});

alone('an app that is taken out of the file: 4003, presence ends at once, nobody gets in', async () => {
    const app = (id, key) => `[[apps]]\nid = "${id}"\nkey = "p-${id}"\nsecret = "app-secret-that-is-not-short-at-all-really"\napi_keys = ["${key}"]\n  [[apps.token_keys]]\n  algorithm = "HS256"\n  secret = "a secret of more than thirty-two bytes for tests"\n${namespace('', [everything])}`;
    const [first, second, third] = [app('default', 'k1'), app('other', 'k2'), app('third', 'k3')];
    await during(async (server) => {
        const reload = async (config) => {
            writeFileSync(server.file, config);
            const before = server.errors.split('"reloaded"').length;
            server.signal('SIGHUP');
            await eventually(() => server.errors.split('"reloaded"').length > before);
        };
        const stays = await server.connect(as('alice'));
        const other = { path: '/v1/ws?app=other' };
        const goes = await server.connect(as('alice'), other);
        const silent = await server.connect(null, other);
        await stays.subscribe('room', { presence: true });
        await goes.subscribe('room', { presence: true });
        // Apps keep their channels whatever their order in the file.
        await reload(third + first);
        const error = await goes.waitFor('error');
        assert.equal(error.code, 'forbidden');
        assert.equal(error.retryable, false);
        await goes.closesWith(4003);
        await silent.closesWith(4003);
        await assert.rejects(server.connect(as('alice'), other), /404/);
        assert.equal((await server.get('/v1/nodes', { key: 'k2' })).status, 401);
        assert.equal((await stays.ok('publish', { channel: 'room', data: 1 })).type, 'published');
        await stays.waitFor('message');
        const third1 = await server.connect(as('alice'), { path: '/v1/ws?app=third' });
        assert.equal((await third1.subscribe('room', { presence: true })).presence.count, 1);
        // Back again, it begins anew: whoever was present has left.
        await reload(first + second + third);
        const again = await server.connect({ ...as('bob'), resume: goes.hello.resume }, other);
        assert.equal(again.hello.resumed, false);
        assert.equal((await again.subscribe('room')).presence.count, 0);
        assert.equal(stays.closeCode, undefined);
        assert.equal(third1.closeCode, undefined);
    }, [], { config: first + second });
});

await main();

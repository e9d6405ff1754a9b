// Messages: one order, consecutive offsets, recovery that promises only what it can keep.
import { assert, everything, fresh, gateway, jwt, main, namespace, pause, quiet, test, toml } from './harness.mjs';

gateway([]);

const strip = (m) => ({ data: m.data, id: m.id, offset: m.offset });

async function filled(server, count, channel = fresh()) {
    const bob = await server.connect('bob');
    const sent = [];
    for (let n = 1; n <= count; n += 1) sent.push(await bob.ok('publish', { channel, data: n }));
    const at = (n) => ({ epoch: sent[0].epoch, offset: n, id: n === 0 ? '' : sent[n - 1].messageId });
    return { channel, bob, sent, at };
}

test('a message carries what was published, and published what it became', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    const { position } = await alice.subscribe(channel);
    const published = await bob.ok('publish', { channel, data: { a: [1, null, 'é'] }, event: 'edit' });
    assert.equal(published.type, 'published');
    assert.equal(published.channel, channel);
    assert.equal(published.offset, 1);
    assert.equal(published.epoch, position.epoch);
    assert.equal('duplicate' in published, false);
    const message = await alice.waitFor('message');
    assert.ok(Math.abs(message.time - Date.now()) < 5000);
    assert.deepEqual({ ...message, time: 0 }, {
        type: 'message', channel, event: 'edit', data: { a: [1, null, 'é'] },
        id: published.messageId, offset: 1, userId: 'bob', time: 0,
    });
    assert.equal(message.id.includes('.'), false);
});

test('any JSON value is data, handed on byte for byte', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    await alice.subscribe(channel);
    for (const text of ['null', 'true', '-0', '1.50e+3', '12345678901234567890123', '""', '"\\u0041\\/"', '[]', '{"b": 1,\t"a" :2}', '{"a":1,"a":2}']) {
        alice.send(`{"type":"publish","id":5,"channel":"${channel}","data":${text}}`);
        const reply = await alice.waitFor((f) => f.id === 5);
        assert.equal(reply.type, 'published', `${text}: ${JSON.stringify(reply)}`);
        const message = await alice.waitFor('message');
        assert.ok(message.raw.includes(`"data":${text}`), `${message.raw} should hold ${text}`);
    }
});

test('data nested 128 levels is handed on, and 129 are not', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    const nested = (depth) => '['.repeat(depth) + ']'.repeat(depth);
    alice.send(`{"type":"publish","id":5,"channel":"${channel}","data":${nested(128)}}`);
    assert.equal((await alice.waitFor((f) => f.id === 5)).type, 'published');
    alice.send(`{"type":"publish","channel":"${channel}","data":${nested(129)}}`);
    const error = await alice.waitFor('error');
    assert.equal(error.code, 'bad_request');
});

test('every subscriber sees one order without holes', async (server) => {
    const channel = fresh();
    const subscribers = await Promise.all(Array.from({ length: 8 }, (_, i) => server.connect(`s${i}`)));
    await Promise.all(subscribers.map((client) => client.subscribe(channel)));
    const publishers = await Promise.all(Array.from({ length: 4 }, (_, i) => server.connect(`p${i}`)));
    for (let n = 0; n < 40; n += 1) {
        for (const publisher of publishers) publisher.send({ type: 'publish', channel, data: n });
    }
    for (const client of subscribers) await client.until(() => client.messages(channel).length === 160);
    const order = subscribers[0].messages(channel).map(strip);
    assert.deepEqual(order.map((m) => m.offset), Array.from({ length: 160 }, (_, i) => i + 1));
    for (const client of subscribers) assert.deepEqual(client.messages(channel).map(strip), order);
    for (const user of ['p0', 'p3']) {
        const own = subscribers[0].messages(channel).filter((m) => m.userId === user).map((m) => m.data);
        assert.deepEqual(own, Array.from({ length: 40 }, (_, i) => i), 'a publisher\'s own order holds');
    }
});

test('the publisher gets its own message, unless echo is false', async (server) => {
    const channel = fresh();
    const [alice, tab] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    await alice.subscribe(channel);
    await tab.subscribe(channel);
    await alice.ok('publish', { channel, data: 1 });
    assert.equal((await alice.waitFor('message')).data, 1);
    await tab.waitFor('message');
    await alice.ok('publish', { channel, data: 2, echo: false });
    assert.equal((await tab.waitFor('message')).data, 2);
    const own = await alice.waitFor('message');
    assert.equal('data' in own, false, 'only its offset, for the sequence');
    assert.equal(own.offset, 2);
});

test('publishing and reading history need no subscription', async (server) => {
    const { channel, bob, sent } = await filled(server, 3);
    const reply = await bob.ok('history.get', { channel });
    assert.equal(reply.type, 'history');
    assert.equal(reply.channel, channel);
    assert.deepEqual(reply.position, { epoch: sent[0].epoch, offset: 3, id: sent[2].messageId });
    assert.deepEqual(reply.messages.map((m) => m.data), [1, 2, 3]);
    assert.deepEqual(Object.keys(reply.messages[0]).sort(), ['data', 'id', 'offset', 'time', 'userId']);
    assert.equal(bob.of('message').length, 0);
});

test('history.get since, reverse and limit', async (server) => {
    const { channel, bob, at } = await filled(server, 10);
    const get = async (fields) => (await bob.ok('history.get', { channel, ...fields })).messages.map((m) => m.data);
    assert.deepEqual(await get({ limit: 3 }), [1, 2, 3]);
    assert.deepEqual(await get({ limit: 3, reverse: true }), [10, 9, 8]);
    assert.deepEqual(await get({ since: at(7) }), [8, 9, 10]);
    assert.deepEqual(await get({ since: at(2), limit: 2 }), [3, 4]);
    assert.deepEqual(await get({ since: at(4), reverse: true }), [3, 2, 1]);
    assert.deepEqual(await get({ since: at(10) }), []);
    assert.deepEqual(await get({ since: at(0) }), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await bob.refused('unrecoverable', 'history.get', { channel, since: { ...at(2), epoch: 'other' } });
    await bob.refused('unrecoverable', 'history.get', { channel, since: { ...at(2), id: 'other' } });
    const error = await bob.refused('limit_exceeded', 'history.get', { channel, limit: 1001 });
    assert.match(error.message, /limit/);
    assert.match(error.message, /1,?000/);
});

test('the default limit of history is 100', async (server) => {
    const { channel, bob } = await filled(server, 100);
    await bob.ok('publish', { channel, data: 101 });
    const all = (await bob.ok('history.get', { channel })).messages.map((m) => m.data);
    assert.equal(all.length, 100);
    assert.equal(all[0], 2, 'the history holds 100');
});

test('recover gives exactly what was missed', async (server) => {
    const { channel, at, sent } = await filled(server, 6);
    const alice = await server.connect('alice');
    const reply = await alice.subscribe(channel, { recover: at(4) });
    assert.equal(reply.recovered, true);
    assert.equal('reason' in reply, false);
    assert.deepEqual(reply.messages.map((m) => m.data), [5, 6]);
    assert.deepEqual(reply.messages.map((m) => m.id), sent.slice(4).map((m) => m.messageId));
    assert.deepEqual(reply.position, at(6));
});

test('recover at the top is complete and empty', async (server) => {
    const { channel, at } = await filled(server, 2);
    const alice = await server.connect('alice');
    const reply = await alice.subscribe(channel, { recover: at(2) });
    assert.equal(reply.recovered, true);
    assert.deepEqual(reply.messages ?? [], []);
});

test('recover from the beginning of the epoch', async (server) => {
    const { channel, at } = await filled(server, 3);
    const alice = await server.connect('alice');
    const reply = await alice.subscribe(channel, { recover: at(0) });
    assert.equal(reply.recovered, true);
    assert.deepEqual(reply.messages.map((m) => m.data), [1, 2, 3]);
});

test('recover says false with epoch, gap, fork', async (server) => {
    const { channel, at } = await filled(server, 103);
    const recover = async (position) => {
        const alice = await server.connect('alice');
        const reply = await alice.subscribe(channel, { recover: position });
        assert.equal(reply.recovered, false, JSON.stringify(reply).slice(0, 300));
        assert.equal('messages' in reply, false, 'no messages with recovered:false');
        assert.equal(reply.position.offset, 103);
        return reply.reason;
    };
    assert.equal(await recover({ ...at(50), epoch: 'another' }), 'epoch');
    assert.equal(await recover(at(2)), 'gap');
    assert.equal(await recover(at(0)), 'gap');
    assert.equal(await recover({ ...at(50), id: 'another' }), 'fork');
    assert.equal(await recover({ epoch: at(1).epoch, offset: 104, id: 'another' }), 'fork');
    const alice = await server.connect('alice');
    const edge = await alice.subscribe(channel, { recover: at(3) });
    assert.equal(edge.recovered, true, 'a position just before the oldest kept message is recovered');
    assert.equal(edge.messages.length, 100);
});

test('nothing is lost and nothing comes twice over a cut and a recovery under load', async (server) => {
    const channel = fresh();
    const bob = await server.connect('bob');
    let alice = await server.connect('alice');
    let { position } = await alice.subscribe(channel);
    const got = [];
    const keep = (messages) => {
        for (const m of messages) got.push(m.offset);
        const last = messages.at(-1);
        if (last) position = { epoch: position.epoch, offset: last.offset, id: last.id };
    };
    for (let round = 0; round < 4; round += 1) {
        for (let n = 0; n < 20; n += 1) bob.send({ type: 'publish', channel, data: n });
        if (round % 2) await quiet(bob);
        await alice.cut();
        keep(alice.messages(channel));
        alice = await server.connect('alice');
        const reply = await alice.subscribe(channel, { recover: position });
        assert.equal(reply.recovered, true, JSON.stringify(reply).slice(0, 200));
        keep(reply.messages ?? []);
    }
    await quiet(bob);
    await bob.ok('publish', { channel, data: 'last' });
    await alice.waitFor((f) => f.type === 'message' && f.data === 'last');
    keep(alice.messages(channel));
    assert.deepEqual(got, Array.from({ length: 81 }, (_, i) => i + 1));
});

test('a key publishes once, whatever its data, apart for each user and channel', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    await bob.subscribe(channel);
    const first = await alice.ok('publish', { channel, data: 1, key: 'k1' });
    const again = await alice.ok('publish', { channel, data: 2, key: 'k1' });
    assert.equal(again.duplicate, true);
    assert.equal(again.messageId, first.messageId);
    assert.equal(again.offset, first.offset);
    const tab = await server.connect('alice');
    assert.equal((await tab.ok('publish', { channel, data: 3, key: 'k1' })).duplicate, true);
    const other = await bob.ok('publish', { channel, data: 4, key: 'k1' });
    assert.equal('duplicate' in other, false);
    const backend = await server.publish(channel, { data: 5, key: 'k1' });
    assert.equal('duplicate' in backend.json, false);
    assert.equal((await server.publish(channel, { data: 6, key: 'k1' })).json.duplicate, true);
    const elsewhere = await alice.ok('publish', { channel: fresh(), data: 7, key: 'k1' });
    assert.equal('duplicate' in elsewhere, false);
    await quiet(bob, alice);
    assert.deepEqual(bob.messages(channel).map((m) => m.data), [1, 4, 5]);
});

test('DELETE begins a new epoch, and live subscribers are told', async (server) => {
    const { channel, at } = await filled(server, 3);
    const alice = await server.connect('alice');
    await alice.subscribe(channel, { presence: true });
    assert.equal((await server.http('DELETE', `/v1/channels/${channel}/messages`)).status, 204);
    const end = await alice.waitFor('unsubscribed');
    assert.equal(end.code, 'unrecoverable');
    assert.equal(end.channel, channel);
    assert.equal('id' in end, false);
    const reply = await alice.subscribe(channel, { recover: at(3), presence: true });
    assert.equal(reply.recovered, false);
    assert.equal(reply.reason, 'epoch');
    assert.notEqual(reply.position.epoch, at(3).epoch);
    assert.equal(reply.position.offset, 0);
    const published = await alice.ok('publish', { channel, data: 'new' });
    assert.equal(published.offset, 1);
    assert.equal(published.epoch, reply.position.epoch);
    assert.equal((await server.http('DELETE', `/v1/channels/${fresh()}/messages`)).status, 204);
});

test('a publish is refused with the field that is wrong', async (server) => {
    const alice = await server.connect('alice');
    const channel = fresh();
    const cases = [
        [{ channel }, /data/], [{ data: 1 }, /channel/], [{ channel, data: 1, event: '' }, /event/],
        [{ channel, data: 1, event: 5 }, /event/], [{ channel, data: 1, key: '' }, /key/],
        [{ channel, data: 1, echo: 'no' }, /echo/], [{ channel: '', data: 1 }, /channel/],
    ];
    for (const [fields, named] of cases) {
        const error = await alice.refused('bad_request', 'publish', fields);
        assert.match(error.message, named);
    }
});

const spaces = [
    namespace('', [everything, 'history = { size = 2000, ttl_s = 600 }']),
    namespace('plain', [everything]),
    namespace('slow', [everything, 'history = { size = 1000, ttl_s = 600 }', 'slow_consumer = "disconnect"']),
    namespace('latest', [everything, 'slow_consumer = "latest"']),
    namespace('dash', [everything, 'conflate_ms = 150']),
    namespace('brief', [everything, 'history = { size = 10, ttl_s = 1 }']),
].join('');
gateway(['--limits.queue_bytes=131072', '--limits.recover_messages=50', '--limits.frames_per_second=100000', '--limits.frames_burst=100000'], {
    config: toml(spaces),
});
const as = (user) => ({ token: jwt({ sub: user }) });

test('a channel without history has no position, and recover there is a gap', async (server) => {
    const channel = `plain:${fresh()}`;
    const alice = await server.connect(as('alice'));
    const reply = await alice.subscribe(channel, { recover: { epoch: 'x', offset: 1, id: 'y' } });
    assert.equal('position' in reply, false);
    assert.equal(reply.recovered, false);
    assert.equal(reply.reason, 'gap');
    const published = await alice.ok('publish', { channel, data: 1 });
    assert.equal('offset' in published, false);
    assert.equal('epoch' in published, false);
    const message = await alice.waitFor('message');
    assert.equal('offset' in message, false);
    assert.equal(typeof message.id, 'string');
    const history = await alice.ok('history.get', { channel });
    assert.deepEqual(history.messages, []);
    assert.equal('position' in history, false);
});

test('echo:false without history gives the publisher nothing', async (server) => {
    const channel = `plain:${fresh()}`;
    const alice = await server.connect(as('alice'));
    await alice.subscribe(channel);
    await alice.ok('publish', { channel, data: 1, echo: false });
    await quiet(alice);
    assert.equal(alice.messages(channel).length, 0);
});

test('more than recover_messages is the reason limit, and paging helps', async (server) => {
    const channel = fresh();
    const bob = await server.connect(as('bob'));
    const first = await bob.ok('publish', { channel, data: 1 });
    for (let n = 2; n <= 80; n += 1) bob.send({ type: 'publish', channel, data: n });
    await quiet(bob);
    const alice = await server.connect(as('alice'));
    const position = { epoch: first.epoch, offset: 1, id: first.messageId };
    const reply = await alice.subscribe(channel, { recover: position });
    assert.equal(reply.recovered, false);
    assert.equal(reply.reason, 'limit');
    await alice.ok('unsubscribe', { channel });
    const page = await alice.ok('history.get', { channel, since: position, limit: 60 });
    const last = page.messages.at(-1);
    const after = await alice.subscribe(channel, { recover: { epoch: first.epoch, offset: last.offset, id: last.id } });
    assert.equal(after.recovered, true);
    assert.equal(after.messages.length, 80 - last.offset);
});

test('messages expire, and epoch and offset go on', async (server) => {
    const channel = `brief:${fresh()}`;
    const alice = await server.connect(as('alice'));
    const first = await alice.ok('publish', { channel, data: 1 });
    await pause(1600);
    const history = await alice.ok('history.get', { channel });
    assert.deepEqual(history.messages, []);
    const second = await alice.ok('publish', { channel, data: 2 });
    assert.equal(second.epoch, first.epoch);
    assert.equal(second.offset, 2);
});

test('a conflated channel sends the first at once and the latest of each window', async (server) => {
    const channel = `dash:${fresh()}`;
    const [alice, bob] = await Promise.all([server.connect(as('alice')), server.connect(as('bob'))]);
    const seen = await alice.subscribe(channel);
    assert.equal('position' in seen, false);
    const at = Date.now();
    for (let n = 1; n <= 10; n += 1) bob.send({ type: 'publish', channel, data: n, conflateKey: 'a' });
    bob.send({ type: 'publish', channel, data: 'other', conflateKey: 'b' });
    await alice.until(() => alice.messages(channel).some((m) => m.data === 10));
    const a = alice.messages(channel).filter((m) => m.conflateKey === 'a');
    assert.deepEqual(a.map((m) => m.data), [1, 10]);
    assert.ok(a[0].at - at < 120, `the first came after ${a[0].at - at} ms`);
    assert.ok(a[1].at - a[0].at >= 100, `the window was ${a[1].at - a[0].at} ms`);
    assert.deepEqual(alice.messages(channel).filter((m) => m.conflateKey === 'b').map((m) => m.data), ['other']);
    const late = await server.connect(as('late'));
    const kept = await late.subscribe(channel);
    assert.deepEqual(kept.messages.map((m) => [m.conflateKey, m.data]).sort(), [['a', 10], ['b', 'other']]);
});

const big = 'x'.repeat(30000);

async function stuck(server, channel) {
    const alice = await server.connect(as('alice'));
    await alice.subscribe(channel);
    alice.ws._socket.pause();
    return alice;
}

test('a consumer that cannot keep up is closed with 4008, and recovers', async (server) => {
    const channel = `slow:${fresh()}`;
    const alice = await stuck(server, channel);
    const bob = await server.connect(as('bob'));
    // What the kernel takes in comes on top of the queue.
    for (let n = 1; n <= 400; n += 1) bob.send({ type: 'publish', channel, data: big });
    await bob.ok('ping', {}, 10000);
    alice.ws._socket.resume();
    await alice.closesWith(4008, 10000);
    const offsets = alice.messages(channel).map((m) => m.offset);
    assert.deepEqual(offsets, offsets.map((_, i) => i + 1), 'no silent gap');
    assert.ok(offsets.length < 400);
});

test('slow_consumer latest says how many were skipped', async (server) => {
    const channel = `latest:${fresh()}`;
    const alice = await stuck(server, channel);
    const bob = await server.connect(as('bob'));
    for (let n = 1; n <= 400; n += 1) bob.send({ type: 'publish', channel, data: `${n} ${big}` });
    await bob.ok('ping', {}, 10000);
    alice.ws._socket.resume();
    await alice.until(() => alice.messages(channel).some((m) => m.data.startsWith('400 ')), 10000, 'the latest message');
    const messages = alice.messages(channel);
    const skipped = messages.reduce((sum, m) => sum + (m.skipped ?? 0), 0);
    assert.ok(skipped > 0, 'some were skipped');
    assert.equal(messages.length + skipped, 400);
    await alice.ping();
});

test('conflation and history together are a configuration error', async () => {
    const { Server } = await import('./harness.mjs');
    const both = namespace('x', ['conflate_ms = 100', 'history = { size = 10, ttl_s = 10 }']);
    await assert.rejects(Server.start([], { config: toml(both) }).then((s) => s.stop()), /conflate|history/);
});

await main();

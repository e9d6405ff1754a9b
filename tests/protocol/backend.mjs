// The backend's HTTP API, row by row.
import { assert, eventually, fresh, gateway, main, pause, quiet, test } from './harness.mjs';

gateway(['--presence.linger_ms=300']);

const failed = (answer, status, code) => {
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.json.error.code, code, answer.text);
    assert.equal(typeof answer.json.error.message, 'string');
};

test('without a key, or with a wrong one, everything is 401', async (server) => {
    failed(await server.get('/v1/nodes', { key: null }), 401, 'unauthenticated');
    failed(await server.get('/v1/nodes', { key: 'wrong' }), 401, 'unauthenticated');
    assert.equal((await server.get('/v1/nodes', { key: null, headers: { authorization: 'bearer dev' } })).status, 200);
    assert.equal((await server.get('/v1/nodes', { key: null, headers: { authorization: 'BEARER dev' } })).status, 200);
});

test('unknown paths are 404, a wrong method on a known one 405', async (server) => {
    failed(await server.get('/v1/nothing'), 404, 'not_found');
    assert.equal((await server.post('/v1/nodes', {})).status, 405);
    assert.equal((await server.get('/v1/broadcast')).status, 405);
});

test('a published message reaches the subscribers', async (server) => {
    const channel = `room with/slash é ${fresh()}`;
    const alice = await server.connect('alice');
    await alice.subscribe(channel);
    const answer = await server.publish(channel, { data: { n: 1 }, event: 'news', userId: 'robot' });
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.headers['content-type'], /application\/json/);
    assert.equal(answer.json.offset, 1);
    const message = await alice.waitFor('message');
    assert.equal(message.id, answer.json.messageId);
    assert.equal(message.event, 'news');
    assert.deepEqual(message.data, { n: 1 });
    const plain = await server.publish(channel, { data: 2 });
    assert.equal(plain.json.offset, 2);
    assert.equal('userId' in (await alice.waitFor('message')), false);
});

test('exclude leaves one connection out, but for its offset', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    await alice.subscribe(channel);
    await bob.subscribe(channel);
    await server.publish(channel, { data: 1, exclude: alice.hello.connectionId });
    assert.equal((await bob.waitFor('message')).data, 1);
    const left = await alice.waitFor('message');
    assert.equal('data' in left, false);
    assert.equal(left.offset, 1);
});

test('bodies that are wrong are 400 and name the field', async (server) => {
    const path = `/v1/channels/${fresh()}/messages`;
    for (const [text, named] of [
        ['', /./], ['x', /./], ['[]', /./], ['{}', /data/], ['{"data":1,"data":2}', /data/], ['{"data":1,"event":5}', /event/],
        ['{"data":1,"key":""}', /key/], ['{"data":1,"exclude":5}', /exclude/], ['{"data":1,"userId":""}', /userId/],
    ]) {
        const answer = await server.http('POST', path, text, { raw: true });
        failed(answer, 400, 'bad_request');
        assert.match(answer.json.error.message, named, text);
    }
    failed(await server.publish('@x', { data: 1 }), 400, 'bad_request');
    failed(await server.publish('x'.repeat(256), { data: 1 }), 413, 'too_large');
    failed(await server.publish('a', { data: 'x'.repeat(65535) }), 413, 'too_large');
});

test('a body past data_bytes + 64 KiB is 413 before reading on', async (server) => {
    const answer = await server.publish('a', { data: 'x'.repeat(200000) }).catch((error) => error);
    assert.ok(answer.status === 413 || answer.code, `${answer.status ?? answer}`);
    const after = await server.publish(fresh(), { data: 1 });
    assert.equal(after.status, 200);
});

test('broadcast answers for each channel in order', async (server) => {
    const [a, b] = [fresh(), fresh()];
    const alice = await server.connect('alice');
    await alice.subscribe(a);
    await alice.subscribe(b);
    const answer = await server.post('/v1/broadcast', { channels: [a, '@bad', b], data: 'all', event: 'e' });
    assert.equal(answer.status, 200, answer.text);
    const { results } = answer.json;
    assert.equal(results.length, 3);
    assert.equal(results[0].offset, 1);
    assert.equal(results[1].error.code, 'bad_request');
    assert.equal(results[2].offset, 1);
    await alice.until(() => alice.messages().length === 2);
    const many = Array.from({ length: 1001 }, (_, i) => `c${i}`);
    failed(await server.post('/v1/broadcast', { channels: many, data: 1 }), 400, 'limit_exceeded');
    const most = await server.post('/v1/broadcast', { channels: many.slice(0, 1000), data: 1 });
    assert.equal(most.json.results.length, 1000);
    const again = await server.post('/v1/broadcast', { channels: [a], data: 1, key: 'bk' });
    assert.equal('duplicate' in again.json.results[0], false);
    assert.equal((await server.post('/v1/broadcast', { channels: [a], data: 1, key: 'bk' })).json.results[0].duplicate, true);
});

test('a direct message reaches one connection', async (server) => {
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    const answer = await server.post(`/v1/connections/${one.hello.connectionId}/messages`, { data: { only: 'you' } });
    assert.equal(answer.status, 202, answer.text);
    assert.deepEqual({ ...(await one.waitFor('direct')) }, { type: 'direct', data: { only: 'you' } });
    await quiet(two);
    assert.equal(two.of('direct').length, 0);
    failed(await server.post('/v1/connections/nobody/messages', { data: 1 }), 404, 'not_found');
    const { connectionId } = two.hello;
    await two.close(1000);
    await eventually(async () => (await server.post(`/v1/connections/${connectionId}/messages`, { data: 1 })).status === 404);
});

test('presence and its count', async (server) => {
    const channel = fresh();
    const users = Array.from({ length: 7 }, (_, i) => `u${i}`);
    for (const user of users) await (await server.connect(user)).subscribe(channel, { presence: { user } });
    const all = await server.get(`/v1/channels/${channel}/presence`);
    assert.equal(all.status, 200, all.text);
    assert.equal(all.json.count, 7);
    assert.deepEqual(all.json.users.map((u) => u.userId).sort(), users);
    assert.equal(all.json.users[0].data.user, all.json.users[0].userId);
    assert.equal(typeof all.json.users[0].connectedAt, 'number');
    assert.equal('stale' in all.json, false);
    assert.deepEqual((await server.get(`/v1/channels/${channel}/presence/count`)).json, { count: 7 });
    assert.deepEqual((await server.get(`/v1/channels/${fresh()}/presence/count`)).json, { count: 0 });
    const page = await server.get(`/v1/channels/${channel}/presence?limit=5`);
    assert.equal(page.json.users.length, 5);
    const rest = await server.get(`/v1/channels/${channel}/presence?limit=5&cursor=${encodeURIComponent(page.json.cursor)}`);
    assert.equal(rest.json.users.length, 2);
    assert.equal('cursor' in rest.json, false);
    failed(await server.get(`/v1/channels/${channel}/presence?cursor=rubbish!`), 400, 'bad_request');
    failed(await server.get(`/v1/channels/${channel}/presence?limit=1001`), 400, 'bad_request');
    failed(await server.get(`/v1/channels/${channel}/presence?limit=x`), 400, 'bad_request');
});

test('history by HTTP', async (server) => {
    const channel = fresh();
    const sent = [];
    for (let n = 1; n <= 5; n += 1) sent.push((await server.publish(channel, { data: n })).json);
    const get = async (query) => {
        const answer = await server.get(`/v1/channels/${channel}/messages${query}`);
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
    };
    const all = await get('');
    assert.deepEqual(all.position, { epoch: sent[0].epoch, offset: 5, id: sent[4].messageId });
    assert.deepEqual(all.messages.map((m) => m.data), [1, 2, 3, 4, 5]);
    const since = (n) => encodeURIComponent(`${sent[0].epoch}.${n}.${sent[n - 1].messageId}`);
    assert.deepEqual((await get(`?since=${since(3)}`)).messages.map((m) => m.data), [4, 5]);
    assert.deepEqual((await get('?reverse=true&limit=2')).messages.map((m) => m.data), [5, 4]);
    assert.deepEqual((await get(`?reverse=true&since=${since(3)}`)).messages.map((m) => m.data), [2, 1]);
    failed(await server.get(`/v1/channels/${channel}/messages?since=other.2.x`), 409, 'unrecoverable');
    failed(await server.get(`/v1/channels/${channel}/messages?since=x`), 400, 'bad_request');
    failed(await server.get(`/v1/channels/${channel}/messages?limit=1001`), 400, 'bad_request');
});

test('the list of channels', async (server) => {
    const prefix = fresh('listed');
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    for (let n = 0; n < 5; n += 1) await alice.subscribe(`${prefix}:${n}`, { presence: n === 0 });
    await bob.subscribe(`${prefix}:0`, { presence: true });
    const found = [];
    let cursor;
    do {
        const answer = await server.get(`/v1/channels?prefix=${prefix}&limit=2${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
        assert.equal(answer.status, 200, answer.text);
        assert.ok(answer.json.channels.length <= 2);
        found.push(...answer.json.channels);
        cursor = answer.json.cursor;
    } while (cursor);
    assert.deepEqual(found.map((c) => c.channel).sort(), [0, 1, 2, 3, 4].map((n) => `${prefix}:${n}`));
    const first = found.find((c) => c.channel === `${prefix}:0`);
    assert.deepEqual(first, { channel: `${prefix}:0`, subscribers: 2, present: 2 });
    assert.deepEqual((await server.get(`/v1/channels?prefix=${fresh('none')}`)).json.channels, []);
});

test('a user, online and not', async (server) => {
    const user = fresh('user');
    const path = `/v1/users/${user}`;
    assert.deepEqual((await server.get(path)).json, { online: false, connections: [] });
    const [one, two] = await Promise.all([server.connect(user), server.connect(user)]);
    const channel = fresh();
    await one.subscribe(channel);
    const { online, connections } = (await server.get(path)).json;
    assert.equal(online, true);
    assert.equal(connections.length, 2);
    const mine = connections.find((c) => c.connectionId === one.hello.connectionId);
    assert.equal(mine.nodeId, one.hello.nodeId);
    assert.ok(Math.abs(mine.connectedAt - Date.now()) < 10000);
    assert.deepEqual([].concat(mine.channels), [channel]);
    await one.close(1000);
    await two.close(1000);
    await eventually(async () => (await server.get(path)).json.online === false);
});

test('disconnect closes all of a user\'s connections', async (server) => {
    const user = fresh('user');
    const [one, two] = await Promise.all([server.connect(user), server.connect(user)]);
    const answer = await server.post(`/v1/users/${user}/disconnect`, {});
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.json, { connections: 2 });
    await one.closesWith(4005);
    await two.closesWith(4005);
    const three = await server.connect(user);
    await server.post(`/v1/users/${user}/disconnect`, { code: 4321, reason: 'go away' });
    assert.equal((await three.closesWith(4321)).reason, 'go away');
    assert.deepEqual((await server.post(`/v1/users/${user}/disconnect`, {})).json, { connections: 0 });
    for (const body of [{ code: 4099 }, { code: 5000 }, { code: 4001 }, { code: 'x' }]) {
        failed(await server.post(`/v1/users/${user}/disconnect`, body), 400, 'bad_request');
    }
    const long = await server.post(`/v1/users/${user}/disconnect`, { reason: 'x'.repeat(124) });
    assert.ok([400, 413].includes(long.status), long.text);
    assert.equal((await server.post(`/v1/users/${user}/disconnect`, { code: 4005 })).status, 200);
});

test('4005 ends presence at once', async (server) => {
    const channel = fresh();
    const user = fresh('user');
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect(user)]);
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: true });
    await watcher.waitFor('presence.join');
    const at = Date.now();
    await server.post(`/v1/users/${user}/disconnect`, {});
    const leave = await watcher.waitFor('presence.leave');
    assert.ok(leave.at - at < 200, `took ${leave.at - at} ms`);
});

test('subscribe and unsubscribe by the backend', async (server) => {
    const user = fresh('user');
    const channel = fresh();
    const [one, two] = await Promise.all([server.connect(user), server.connect(user)]);
    const answer = await server.post(`/v1/users/${user}/subscribe`, { channel, presence: { by: 'backend' } });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(answer.json, { connections: 2 });
    for (const client of [one, two]) {
        const reply = await client.waitFor('subscribed');
        assert.equal(reply.channel, channel);
        assert.equal('id' in reply, false);
    }
    assert.deepEqual((await server.get(`/v1/channels/${channel}/presence`)).json.users[0].data, { by: 'backend' });
    await server.publish(channel, { data: 1 });
    await one.waitFor('message');
    const end = await server.post(`/v1/users/${user}/unsubscribe`, { channel });
    assert.deepEqual(end.json, { connections: 2 });
    for (const client of [one, two]) {
        const frame = await client.waitFor('unsubscribed');
        assert.equal(frame.code, 'ended');
    }
    assert.equal((await server.get(`/v1/channels/${channel}/presence/count`)).json.count, 0, 'presence ends');
});

test('the nodes', async (server) => {
    const alice = await server.connect('alice');
    const { nodes } = (await server.get('/v1/nodes')).json;
    assert.equal(nodes.length, 1);
    assert.equal(nodes[0].nodeId, alice.hello.nodeId);
    assert.equal(nodes[0].draining, false);
    for (const field of ['uptime', 'connections', 'channels', 'leaseAgeMs']) assert.equal(typeof nodes[0][field], 'number', field);
    for (const field of ['address', 'version']) assert.equal(typeof nodes[0][field], 'string', field);
    assert.ok(nodes[0].connections >= 1);
});

test('a batch runs in order, each request on its own', async (server) => {
    const channel = fresh();
    const path = `/v1/channels/${channel}/messages`;
    const answer = await server.post('/v1/batch', {
        requests: [
            { method: 'POST', path, body: { data: 1 } },
            { method: 'POST', path: '/v1/channels/@bad/messages', body: { data: 1 } },
            { method: 'POST', path, body: { data: 2 } },
            { method: 'GET', path },
            { method: 'POST', path: `/v1/channels/${channel}/typing`, body: { userId: 'u' } },
            { method: 'POST', path: '/v1/batch', body: { requests: [] } },
            { method: 'GET', path: '/v1/nothing' },
        ],
    });
    assert.equal(answer.status, 200, answer.text);
    const { responses } = answer.json;
    assert.deepEqual(responses.map((r) => r.status), [200, 400, 200, 200, 204, 400, 404]);
    assert.equal(responses[0].body.offset, 1);
    assert.equal(responses[1].body.error.code, 'bad_request');
    assert.deepEqual(responses[3].body.messages.map((m) => m.data), [1, 2]);
    assert.equal(responses[4].body, null);
    const many = Array.from({ length: 101 }, () => ({ method: 'GET', path: '/v1/nodes' }));
    failed(await server.post('/v1/batch', { requests: many }), 400, 'limit_exceeded');
    const most = await server.post('/v1/batch', { requests: many.slice(1) });
    assert.equal(most.json.responses.length, 100);
    assert.ok(most.json.responses.every((r) => r.status === 200));
});

test('data goes byte for byte through HTTP', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    await alice.subscribe(channel);
    await server.http('POST', `/v1/channels/${channel}/messages`, '{ "data" : {"b":1.0,  "a":"\\u0041"} }', { raw: true });
    const message = await alice.waitFor('message');
    assert.ok(message.raw.includes('"data":{"b":1.0,  "a":"\\u0041"}'), message.raw);
    const history = await server.get(`/v1/channels/${channel}/messages`);
    assert.ok(history.text.includes('{"b":1.0,  "a":"\\u0041"}'), history.text);
});

await main();

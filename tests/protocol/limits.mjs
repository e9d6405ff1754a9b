// Every limit is answered by an error that names it and its value, and nothing else happens.
import { assert, fresh, gateway, main, quiet, test } from './harness.mjs';

gateway(['--limits.frames_per_second=100000', '--limits.frames_burst=100000']);

// After a refusal the connection works as before.
async function stillWorks(client) {
    const channel = fresh();
    await client.subscribe(channel);
    await client.ok('publish', { channel, data: 1 });
    await client.waitFor((f) => f.type === 'message' && f.channel === channel);
    await client.ok('unsubscribe', { channel });
}

function names(error, limit, value) {
    assert.ok(error.message.includes(limit), `${error.message} should name ${limit}`);
    assert.ok(error.message.replaceAll(',', '').includes(String(value)), `${error.message} should say ${value}`);
}

test('a channel is at most 255 bytes', async (server) => {
    const alice = await server.connect('alice');
    await alice.subscribe('é'.repeat(127) + 'x');
    const error = await alice.refused('too_large', 'subscribe', { channel: 'é'.repeat(128) });
    names(error, 'channel_bytes', 255);
    await stillWorks(alice);
});

test('a channel with a control character, a reserved letter or broken text is a bad request', async (server) => {
    const alice = await server.connect('alice');
    for (const channel of ['', '@a', '$a', 'a\u0000b', 'a\nb', 'a\u007fb', 5, null, ['a'], undefined]) {
        const error = await alice.refused('bad_request', 'subscribe', { channel });
        assert.match(error.message, /channel/);
        if (alice.of('error').length > 7) break;
    }
    await alice.subscribe('a@$ b:c:*#\u0080');
    await stillWorks(alice);
});

test('data is at most 64 KiB', async (server) => {
    const alice = await server.connect('alice');
    const channel = fresh();
    await alice.subscribe(channel);
    await alice.ok('publish', { channel, data: 'x'.repeat(65534) });
    const error = await alice.refused('too_large', 'publish', { channel, data: 'x'.repeat(65535) });
    names(error, 'data_bytes', 65536);
    await quiet(alice);
    assert.equal(alice.messages(channel).length, 1, 'nothing was published');
    await stillWorks(alice);
});

test('a frame past 128 KiB gets too_large, then close 1009', async (server) => {
    const alice = await server.connect('alice');
    alice.send({ type: 'publish', id: 3, channel: 'a', data: 'x'.repeat(131072) });
    const error = await alice.waitFor('error');
    assert.equal(error.code, 'too_large');
    names(error, 'frame_bytes', 131072);
    await alice.closesWith(1009);
});

test('presence data is at most 4 KiB', async (server) => {
    const alice = await server.connect('alice');
    const channel = fresh();
    names(await alice.refused('too_large', 'subscribe', { channel, presence: 'x'.repeat(4095) }), 'presence_bytes', 4096);
    await alice.subscribe(channel, { presence: 'x'.repeat(4094) });
    names(await alice.refused('too_large', 'presence.update', { channel, data: 'x'.repeat(4095) }), 'presence_bytes', 4096);
    const { users } = await alice.ok('presence.get', { channel });
    assert.equal(users[0].data.length, 4094);
    await stillWorks(alice);
});

test('event and key are at most 64 bytes', async (server) => {
    const alice = await server.connect('alice');
    const channel = fresh();
    await alice.ok('publish', { channel, data: 1, event: 'e'.repeat(64), key: 'k'.repeat(64) });
    names(await alice.refused('too_large', 'publish', { channel, data: 1, event: 'e'.repeat(65) }), 'event_bytes', 64);
    names(await alice.refused('too_large', 'publish', { channel, data: 1, key: 'k'.repeat(65) }), 'key_bytes', 64);
    await stillWorks(alice);
});

test('one connection subscribes to at most 128 channels', async (server) => {
    const alice = await server.connect('alice');
    const name = fresh();
    await Promise.all(Array.from({ length: 128 }, (_, i) => alice.subscribe(`${name}-${i}`)));
    const error = await alice.refused('limit_exceeded', 'subscribe', { channel: `${name}-128` });
    names(error, 'channels_per_connection', 128);
    await alice.ok('unsubscribe', { channel: `${name}-0` });
    await alice.subscribe(`${name}-128`);
});

// Sent as text, so that it can be wrong in any way; [text, code, what the message names].
const bad = [
    ['hello', 'bad_request', /./],
    ['', 'bad_request', /./],
    ['[]', 'bad_request', /./],
    ['null', 'bad_request', /./],
    ['{"type":"ping"', 'bad_request', /./],
    ['{"type":"ping"} x', 'bad_request', /./],
    ['{"type":"ping","type":"ping"}', 'bad_request', /type/],
    ['{"type":"typing","channel":"a","channel":"b"}', 'bad_request', /channel/],
    ['{}', 'bad_request', /type/],
    ['{"type":5}', 'bad_request', /type/],
    ['{"type":"dance"}', 'bad_request', /type|dance/],
    ['{"type":"subscribe"}', 'bad_request', /channel/],
    ['{"type":"subscribe","channel":"a","recover":5}', 'bad_request', /recover/],
    ['{"type":"subscribe","channel":"a","recover":{"epoch":"e"}}', 'bad_request', /recover|offset/],
    ['{"type":"subscribe","channel":"a","recover":{"epoch":"e","offset":-1,"id":""}}', 'bad_request', /recover|offset/],
    ['{"type":"subscribe","channel":"a","token":5}', 'bad_request', /token/],
    ['{"type":"subscribe","channel":"\\ud800"}', 'bad_request', /channel|JSON|UTF/i],
    ['{"type":"publish","channel":"a"}', 'bad_request', /data/],
    ['{"type":"publish","channel":"a","data":1,"conflateKey":5}', 'bad_request', /conflateKey/],
    ['{"type":"typing","channel":"a","active":"yes"}', 'bad_request', /active/],
    ['{"type":"presence.update","channel":"a"}', 'bad_request', /data/],
    ['{"type":"history.get","channel":"a","limit":0.5}', 'bad_request', /limit/],
    ['{"type":"history.get","channel":"a","limit":-1}', 'bad_request', /limit/],
    ['{"type":"history.get","channel":"a","reverse":1}', 'bad_request', /reverse/],
    ['{"type":"history.get","channel":"a","since":"x"}', 'bad_request', /since/],
    ['{"type":"refresh"}', 'bad_request', /token/],
    ['{"type":"notification.ack"}', 'bad_request', /offset/],
    ['{"type":"notification.ack","offset":"1"}', 'bad_request', /offset/],
    ['{"type":"unsubscribe"}', 'bad_request', /channel/],
    ['{"type":"ping","id":null}', 'bad_request', /id/],
    ['{"type":"ping","id":0}', 'bad_request', /id/],
    ['{"type":"ping","id":-1}', 'bad_request', /id/],
    ['{"type":"ping","id":1.5}', 'bad_request', /id/],
    ['{"type":"ping","id":"1"}', 'bad_request', /id/],
    ['{"type":"ping","id":9007199254740992}', 'bad_request', /id/],
];

for (const [text, code, named] of bad) {
    test(`refused and gone on: ${text.slice(0, 80) || 'empty text'}`, async (server) => {
        const alice = await server.connect('alice');
        alice.send(text);
        const error = await alice.waitFor('error');
        assert.equal(error.code, code, JSON.stringify(error));
        assert.match(error.message, named);
        assert.equal(error.retryable, false);
        assert.equal('id' in error, false);
        await stillWorks(alice);
    });
}

test('an error has the id of the frame that failed', async (server) => {
    const alice = await server.connect('alice');
    for (const text of ['{"type":"dance","id":41}', '{"id":42,"type":"subscribe"}', '{"type":"publish","channel":"a","id":43}']) {
        alice.send(text);
        const id = Number(text.match(/"id":(\d+)/)[1]);
        const error = await alice.waitFor('error');
        assert.equal(error.id, id, text);
    }
    const top = await alice.ok('ping', {});
    assert.equal(top.type, 'pong');
    alice.send('{"type":"ping","id":9007199254740991}');
    await alice.waitFor((f) => f.type === 'pong' && f.id === 9007199254740991);
});

test('32 levels around data, and not 33', async (server) => {
    const alice = await server.connect('alice');
    const nested = (depth) => '['.repeat(depth) + ']'.repeat(depth);
    alice.send(`{"type":"ping","id":5,"more":${nested(31)}}`);
    assert.equal((await alice.waitFor((f) => f.id === 5)).type, 'pong');
    alice.send(`{"type":"ping","more":${nested(33)}}`);
    assert.equal((await alice.waitFor('error')).code, 'bad_request');
    await stillWorks(alice);
});

test('more than 10 bad requests within 10 s close 4000', async (server) => {
    const alice = await server.connect('alice');
    for (let n = 0; n < 9; n += 1) alice.send('rubbish');
    await alice.ping();
    for (let n = 0; n < 3; n += 1) alice.send('rubbish');
    await alice.closesWith(4000);
});

test('text that is not UTF-8 is refused', async (server) => {
    const alice = await server.connect('alice');
    alice.ws.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false });
    const { code } = await alice.closed;
    assert.equal(code, 1007);
});

gateway(['--limits.frames_per_second=5', '--limits.frames_burst=20']);

test('frames past the rate are refused each, and 100 of them close 4007', async (server) => {
    const alice = await server.connect('alice');
    for (let n = 1; n <= 30; n += 1) alice.send({ type: 'ping', id: 1000 + n });
    const error = await alice.waitFor('error');
    assert.equal(error.code, 'rate_limited');
    assert.equal(error.retryable, true);
    assert.ok(error.id > 1000, 'the refused frame\'s id');
    assert.match(error.message, /frames_per_second|frames_burst/);
    await alice.until(() => alice.of('error').length + alice.of('pong').length === 30);
    for (let n = 0; n < 110; n += 1) alice.send({ type: 'ping' });
    await alice.closesWith(4007);
});

gateway(['--limits.connections_per_user=2']);

test('one connection more than connections_per_user is refused with 4006', async (server) => {
    const [one] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    const third = await server.connect(null);
    third.send({ type: 'connect', id: 1, user: 'alice' });
    const error = await third.waitFor('error');
    assert.equal(error.code, 'limit_exceeded');
    names(error, 'connections_per_user', 2);
    await third.closesWith(4006);
    await server.connect('bob');
    await one.close(1000);
    let again;
    for (let n = 0; n < 50 && !again; n += 1) again = await server.connect('alice').catch(() => undefined);
    assert.ok(again, 'a place is free again');
});

gateway(['--limits.connections_per_address=3']);

test('one connection more than connections_per_address is refused with 4006', async (server) => {
    const three = [];
    for (let n = 0; n < 3; n += 1) three.push(await server.connect(`u${n}`));
    const fourth = await server.connect(null);
    fourth.send({ type: 'connect', id: 1, user: 'alice' });
    const error = await fourth.waitFor('error');
    assert.equal(error.code, 'limit_exceeded');
    names(error, 'connections_per_address', 3);
    await fourth.closesWith(4006);
});

await main();

// Who types: started once, ended by five different things, never told to oneself.
import { assert, fresh, gateway, main, pause, quiet, test } from './harness.mjs';

const timeout = 700;
gateway([`--typing.timeout_ms=${timeout}`, '--presence.linger_ms=300']);

async function pair(server) {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    await alice.subscribe(channel);
    await bob.subscribe(channel);
    const start = async () => {
        assert.equal((await alice.ok('typing', { channel })).type, 'ok');
        const frame = await bob.waitFor((f) => f.type === 'typing.start');
        assert.deepEqual({ ...frame }, { type: 'typing.start', channel, userId: 'alice' });
    };
    const stopped = async () => {
        const frame = await bob.waitFor((f) => f.type === 'typing.stop');
        assert.deepEqual({ ...frame }, { type: 'typing.stop', channel, userId: 'alice' });
        return frame;
    };
    return { channel, alice, bob, start, stopped };
}

test('typing is told once, and repeating it tells nothing more', async (server) => {
    const { channel, alice, bob, start } = await pair(server);
    await start();
    await alice.ok('typing', { channel });
    await alice.ok('typing', { channel, active: true });
    await quiet(alice, bob);
    assert.equal(bob.of('typing.start').length, 1);
    assert.equal(bob.of('typing.stop').length, 0);
});

test('active:false ends it', async (server) => {
    const { channel, alice, start, stopped, bob } = await pair(server);
    await start();
    await alice.ok('typing', { channel, active: false });
    await stopped();
    await alice.ok('typing', { channel, active: false });
    await quiet(alice, bob);
    assert.equal(bob.of('typing.stop').length, 1);
});

test('the own message ends it, and the stop comes before that message', async (server) => {
    const { channel, alice, bob, start, stopped } = await pair(server);
    await start();
    await alice.ok('publish', { channel, data: 'hello' });
    const stop = await stopped();
    const message = await bob.waitFor('message');
    assert.ok(bob.frames.indexOf(stop) < bob.frames.indexOf(message));
});

test('the message of someone else does not end it', async (server) => {
    const { channel, bob, alice, start } = await pair(server);
    await start();
    await bob.ok('publish', { channel, data: 'hello' });
    await quiet(alice, bob);
    assert.equal(bob.of('typing.stop').length, 0);
});

test('a message by HTTP with this userId ends it', async (server) => {
    const { channel, start, stopped } = await pair(server);
    await start();
    assert.equal((await server.publish(channel, { data: 1, userId: 'alice' })).status, 200);
    await stopped();
});

test('it ends by itself when the typist goes silent', async (server) => {
    const { start, stopped } = await pair(server);
    const at = Date.now();
    await start();
    const stop = await stopped();
    assert.ok(stop.at - at >= timeout - 50, `after ${stop.at - at} ms`);
    assert.ok(stop.at - at <= timeout + 1000, `after ${stop.at - at} ms`);
});

test('repeating it keeps it going', async (server) => {
    const { channel, alice, bob, start } = await pair(server);
    await start();
    for (let round = 0; round < 4; round += 1) {
        await pause(timeout / 2);
        await alice.ok('typing', { channel });
    }
    assert.equal(bob.of('typing.stop').length, 0);
    assert.equal(bob.of('typing.start').length, 1);
});

test('unsubscribing ends it', async (server) => {
    const { channel, alice, start, stopped } = await pair(server);
    await start();
    const at = Date.now();
    await alice.ok('unsubscribe', { channel });
    const stop = await stopped();
    assert.ok(stop.at - at < timeout / 2, `after ${stop.at - at} ms`);
});

test('closing ends it at once', async (server) => {
    const { alice, start, stopped } = await pair(server);
    await start();
    const at = Date.now();
    await alice.close(1000);
    const stop = await stopped();
    assert.ok(stop.at - at < timeout / 2, `after ${stop.at - at} ms`);
});

test('a connection that breaks ends it after the timeout at the latest', async (server) => {
    const { alice, start, stopped } = await pair(server);
    await start();
    await alice.cut();
    await stopped();
});

test('it is the user\'s: another tab is not told, and its active:false ends it', async (server) => {
    const { channel, alice, bob, start, stopped } = await pair(server);
    const tab = await server.connect('alice');
    await tab.subscribe(channel);
    await start();
    await tab.ok('typing', { channel, active: false });
    await stopped();
    await quiet(alice, tab, bob);
    for (const own of [alice, tab]) {
        assert.equal(own.of('typing.start').length + own.of('typing.stop').length, 0);
    }
});

test('subscribed tells who is typing now, and leaves out oneself', async (server) => {
    const { channel, start } = await pair(server);
    await start();
    const [carol, tab] = await Promise.all([server.connect('carol'), server.connect('alice')]);
    const seen = await carol.subscribe(channel);
    assert.deepEqual(seen.typing, ['alice']);
    const own = await tab.subscribe(channel);
    assert.deepEqual(own.typing ?? [], []);
    await carol.waitFor('typing.stop');
});

test('watch none does not touch typing', async (server) => {
    const { channel, start } = await pair(server);
    const carol = await server.connect('carol');
    await carol.subscribe(channel, { watch: 'none' });
    await start();
    await carol.waitFor('typing.start');
});

test('typing needs the subscription', async (server) => {
    const alice = await server.connect('alice');
    await alice.refused('not_subscribed', 'typing', { channel: fresh() });
});

test('the backend says who types', async (server) => {
    const { channel, alice, bob } = await pair(server);
    const path = `/v1/channels/${channel}/typing`;
    const answer = await server.post(path, { userId: 'robot' });
    assert.equal(answer.status, 204, answer.text);
    for (const client of [alice, bob]) {
        const frame = await client.waitFor('typing.start');
        assert.equal(frame.userId, 'robot');
    }
    assert.equal((await server.post(path, { userId: 'robot', active: false })).status, 204);
    await bob.waitFor((f) => f.type === 'typing.stop' && f.userId === 'robot');
});

await main();

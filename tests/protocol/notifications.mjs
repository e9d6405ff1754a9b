// What a user is told wherever the user is, and finds again after being away.
import { assert, fresh, gateway, main, quiet, test } from './harness.mjs';

gateway([]);

const notify = (server, user, data, more = {}) =>
    server.post(`/v1/users/${encodeURIComponent(user)}/notifications`, { data, ...more });

test('every connection of the user gets it, nobody else', async (server) => {
    const user = fresh('user');
    const [one, two, other] = await Promise.all([server.connect(user), server.connect(user), server.connect('other')]);
    const answer = await notify(server, user, { hello: 1 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.devices, 2);
    assert.equal(answer.json.offset, 1);
    assert.equal(answer.json.epoch, one.hello.notifications.epoch);
    for (const client of [one, two]) {
        const frame = await client.waitFor('notification');
        assert.deepEqual(frame.data, { hello: 1 });
        assert.equal(frame.id, answer.json.messageId);
        assert.equal(frame.offset, 1);
        assert.ok(Math.abs(frame.time - Date.now()) < 5000);
    }
    await quiet(other);
    assert.equal(other.of('notification').length, 0);
});

test('a user who was away gets the missed ones, oldest first', async (server) => {
    const user = fresh('user');
    const ids = [];
    for (let n = 1; n <= 3; n += 1) {
        const answer = await notify(server, user, n);
        assert.equal(answer.json.devices, 0);
        ids.push(answer.json.messageId);
    }
    const client = await server.connect(user);
    const { notifications } = client.hello;
    assert.equal(notifications.recovered, true);
    assert.equal(notifications.offset, 3);
    assert.equal(notifications.id, ids[2]);
    assert.deepEqual(notifications.messages.map((m) => m.data), [1, 2, 3]);
    assert.deepEqual(notifications.messages.map((m) => m.offset), [1, 2, 3]);
    assert.deepEqual(notifications.messages.map((m) => m.id), ids);
});

test('with a position only those after it come', async (server) => {
    const user = fresh('user');
    const first = (await notify(server, user, 'a')).json;
    await notify(server, user, 'b');
    const client = await server.connect({ user, notifications: { epoch: first.epoch, offset: 1, id: first.messageId } });
    assert.equal(client.hello.notifications.recovered, true);
    assert.deepEqual(client.hello.notifications.messages.map((m) => m.data), ['b']);
});

test('a position of another epoch is not recovered', async (server) => {
    const user = fresh('user');
    await notify(server, user, 'a');
    const client = await server.connect({ user, notifications: { epoch: 'other', offset: 1, id: 'x' } });
    assert.equal(client.hello.notifications.recovered, false);
});

test('ack moves the offset forward, tells the other devices, and never goes back', async (server) => {
    const user = fresh('user');
    const [one, two] = await Promise.all([server.connect(user), server.connect(user)]);
    for (let n = 1; n <= 3; n += 1) await notify(server, user, n);
    await one.until(() => one.of('notification').length === 3);
    assert.equal((await one.ok('notification.ack', { offset: 2 })).type, 'ok');
    const acked = await two.waitFor('notification.acked');
    assert.deepEqual({ ...acked }, { type: 'notification.acked', offset: 2 });
    await one.ok('notification.ack', { offset: 1 });
    await quiet(one, two);
    assert.equal(one.of('notification.acked').length, 0);
    const third = await server.connect(user);
    assert.deepEqual(third.hello.notifications.messages.map((m) => m.data), [3]);
    assert.equal(third.hello.notifications.recovered, true);
});

test('an ack past the newest is a bad request', async (server) => {
    const user = fresh('user');
    const one = await server.connect(user);
    await notify(server, user, 1);
    await one.refused('bad_request', 'notification.ack', { offset: 2 });
    await one.refused('bad_request', 'notification.ack', { offset: -1 });
    await one.refused('bad_request', 'notification.ack', {});
});

test('a key is told once', async (server) => {
    const user = fresh('user');
    const one = await server.connect(user);
    const first = await notify(server, user, 1, { key: 'k' });
    const second = await notify(server, user, 2, { key: 'k' });
    assert.equal(second.status, 200);
    assert.equal(second.json.messageId, first.json.messageId);
    assert.equal(second.json.offset, 1);
    await quiet(one);
    assert.equal(one.of('notification').length, 1);
});

test('many users at once, answered in their order', async (server) => {
    const users = [fresh('user'), fresh('user'), ''];
    const client = await server.connect(users[1]);
    const answer = await server.post('/v1/notifications', { users, data: { all: true } });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.results.length, 3);
    assert.equal(answer.json.results[0].devices, 0);
    assert.equal(answer.json.results[1].devices, 1);
    assert.equal(answer.json.results[2].error.code, 'bad_request');
    await client.waitFor('notification');
});

test('data is handed on byte for byte', async (server) => {
    const user = fresh('user');
    const client = await server.connect(user);
    const answer = await server.http('POST', `/v1/users/${user}/notifications`, '{"data":{"b" : 1.10, "a":"\\u00e9"}}', { raw: true });
    assert.equal(answer.status, 200, answer.text);
    const frame = await client.waitFor('notification');
    assert.ok(frame.raw.includes('{"b" : 1.10, "a":"\\u00e9"}'), frame.raw);
});

gateway(['--notifications.size=5']);

test('what is no longer kept is said', async (server) => {
    const user = fresh('user');
    const answers = [];
    for (let n = 1; n <= 8; n += 1) answers.push((await notify(server, user, n)).json);
    const whole = await server.connect({ user });
    assert.equal(whole.hello.notifications.recovered, false);
    assert.deepEqual(whole.hello.notifications.messages.map((m) => m.data).slice(-5), whole.hello.notifications.messages.map((m) => m.data));
    const at = (n) => ({ epoch: answers[0].epoch, offset: n, id: answers[n - 1].messageId });
    const edge = await server.connect({ user, notifications: at(3) });
    assert.equal(edge.hello.notifications.recovered, true);
    assert.deepEqual(edge.hello.notifications.messages.map((m) => m.data), [4, 5, 6, 7, 8]);
    const gone = await server.connect({ user, notifications: at(2) });
    assert.equal(gone.hello.notifications.recovered, false);
});

await main();

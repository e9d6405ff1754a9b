// Subscribing, and who is there: a channel's presence is a set of users, and everyone sees it alike.
import { assert, fresh, gateway, main, pause, quiet, test } from './harness.mjs';

const linger = 600;
gateway([`--presence.linger_ms=${linger}`]);

const events = (client, channel) => client.presence(channel).map(([kind, user]) => `${kind} ${user}`);
const saw = (client, channel, count) =>
    client.until(() => client.presence(channel).length >= count, 3000, `${count} presence events, has ${events(client, channel)}`);
const windows = () => pause(60);

test('subscribed names the channel, and position where there is history', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    const reply = await alice.subscribe(channel);
    assert.equal(reply.type, 'subscribed');
    assert.equal(reply.channel, channel);
    assert.equal(reply.position.offset, 0);
    assert.equal(reply.position.id, '');
    assert.equal(typeof reply.position.epoch, 'string');
    assert.equal('recovered' in reply, false);
});

test('a second subscribe is already_subscribed', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    await alice.subscribe(channel);
    const error = await alice.refused('already_subscribed', 'subscribe', { channel });
    assert.equal(error.channel, channel);
});

test('a subscribe without id is silent and works', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    alice.send({ type: 'subscribe', channel });
    await quiet(alice);
    await alice.refused('already_subscribed', 'subscribe', { channel });
    assert.equal(alice.of('subscribed').length, 0);
});

test('unsubscribe ends the messages, and then there is nothing to unsubscribe', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    await alice.subscribe(channel);
    const reply = await alice.ok('unsubscribe', { channel });
    assert.equal(reply.type, 'unsubscribed');
    assert.equal(reply.channel, channel);
    assert.equal('code' in reply, false);
    await bob.ok('publish', { channel, data: 1 });
    await quiet(alice);
    assert.equal(alice.messages(channel).length, 0);
    await alice.refused('not_subscribed', 'unsubscribe', { channel });
    await alice.subscribe(channel);
});

test('whoever enters gets the whole set, itself included, and no join for itself', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    const before = Date.now();
    const first = await alice.subscribe(channel, { presence: { mood: 'good' } });
    assert.equal(first.presence.count, 1);
    assert.deepEqual(first.presence.users.map((u) => u.userId), ['alice']);
    assert.deepEqual(first.presence.users[0].data, { mood: 'good' });
    assert.ok(Math.abs(first.presence.users[0].connectedAt - before) < 5000);
    const second = await bob.subscribe(channel, { presence: true });
    assert.equal(second.presence.count, 2);
    assert.deepEqual(second.presence.users.map((u) => u.userId).sort(), ['alice', 'bob']);
    await saw(alice, channel, 1);
    await windows();
    await quiet(alice, bob);
    assert.deepEqual(events(alice, channel), ['join bob']);
    assert.deepEqual(events(bob, channel), []);
    const join = alice.of('presence.join', channel)[0];
    assert.equal(typeof join.connectedAt, 'number');
    assert.equal('data' in join, false);
});

test('presence absent or false only watches', async (server) => {
    const channel = fresh();
    const [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((u) => server.connect(u)));
    const seen = await alice.subscribe(channel);
    assert.equal(seen.presence.count, 0);
    assert.deepEqual(seen.presence.users, []);
    await bob.subscribe(channel, { presence: false });
    await carol.subscribe(channel, { presence: null });
    await windows();
    await quiet(alice);
    assert.deepEqual(events(alice, channel), []);
    const { count } = await alice.ok('presence.get', { channel });
    assert.equal(count, 0);
});

test('a second tab is neither a join nor, when it closes, a leave', async (server) => {
    const channel = fresh();
    const watcher = await server.connect('watcher');
    await watcher.subscribe(channel);
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    await one.subscribe(channel, { presence: true });
    const seen = await two.subscribe(channel, { presence: true });
    assert.equal(seen.presence.count, 1);
    await saw(watcher, channel, 1);
    await one.close(1000);
    await windows();
    await quiet(watcher, two);
    assert.deepEqual(events(watcher, channel), ['join alice']);
    await two.close(1000);
    await saw(watcher, channel, 2);
    assert.deepEqual(events(watcher, channel), ['join alice', 'leave alice']);
});

test('a connection that broke lingers, then leaves once', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: true });
    await saw(watcher, channel, 1);
    const cutAt = Date.now();
    await alice.cut();
    const leave = await watcher.waitFor((f) => f.type === 'presence.leave' && f.channel === channel, linger + 2500);
    assert.ok(leave.at - cutAt >= linger - 50, `left after ${leave.at - cutAt} ms`);
    assert.ok(leave.at - cutAt <= linger + 1200, `left after ${leave.at - cutAt} ms`);
    assert.equal(leave.userId, 'alice');
});

test('back within the linger, nobody sees a leave or a join', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    const before = await alice.subscribe(channel, { presence: { n: 1 } });
    await alice.cut();
    await pause(150);
    const again = await server.connect('alice');
    const after = await again.subscribe(channel, { presence: true });
    assert.equal(after.presence.users[0].connectedAt, before.presence.users[0].connectedAt);
    assert.deepEqual(after.presence.users[0].data, { n: 1 }, 'data stays until the user leaves');
    await pause(linger + 400);
    await quiet(watcher);
    assert.deepEqual(events(watcher, channel), ['join alice']);
});

for (const code of [1001, 1005]) {
    test(`close ${code} lingers`, async (server) => {
        const channel = fresh();
        const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
        await watcher.subscribe(channel);
        await alice.subscribe(channel, { presence: true });
        await saw(watcher, channel, 1);
        const closedAt = Date.now();
        if (code === 1005) alice.ws.close();
        else alice.ws.close(code);
        const leave = await watcher.waitFor((f) => f.type === 'presence.leave', linger + 2500);
        assert.ok(leave.at - closedAt >= linger - 50, `left after ${leave.at - closedAt} ms`);
    });
}

test('close 1000 and unsubscribe leave at once', async (server) => {
    const channel = fresh();
    const [watcher, alice, bob] = await Promise.all(['watcher', 'alice', 'bob'].map((u) => server.connect(u)));
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: true });
    await bob.subscribe(channel, { presence: true });
    await saw(watcher, channel, 2);
    let at = Date.now();
    alice.close(1000);
    const first = await watcher.waitFor((f) => f.type === 'presence.leave');
    assert.equal(first.userId, 'alice');
    assert.ok(first.at - at < linger / 2, `took ${first.at - at} ms`);
    at = Date.now();
    await bob.ok('unsubscribe', { channel });
    const second = await watcher.waitFor((f) => f.type === 'presence.leave');
    assert.equal(second.userId, 'bob');
    assert.ok(second.at - at < linger / 2, `took ${second.at - at} ms`);
});

test('a clean leave while another connection of the user lingers leaves at once', async (server) => {
    const channel = fresh();
    const watcher = await server.connect('watcher');
    await watcher.subscribe(channel);
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    await one.subscribe(channel, { presence: true });
    await two.subscribe(channel, { presence: true });
    await one.cut();
    await pause(50);
    const at = Date.now();
    await two.close(1000);
    const leave = await watcher.waitFor((f) => f.type === 'presence.leave');
    assert.ok(leave.at - at < linger / 2, `took ${leave.at - at} ms`);
    await pause(linger + 200);
    await quiet(watcher);
    assert.deepEqual(events(watcher, channel), ['join alice', 'leave alice']);
});

test('a user who unsubscribes and comes back is seen to leave and join, or not at all', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: true });
    await saw(watcher, channel, 1);
    await windows();
    for (let round = 0; round < 5; round += 1) {
        await alice.ok('unsubscribe', { channel });
        await alice.subscribe(channel, { presence: true });
    }
    await windows();
    await quiet(watcher);
    const seen = watcher.presence(channel).map(([kind]) => kind).filter((kind) => kind !== 'update');
    seen.forEach((kind, at) => assert.equal(kind, at % 2 === 0 ? 'join' : 'leave', `alternate: ${seen}`));
    assert.equal(seen.at(-1), 'join');
});

test('presence.update tells every subscriber, the sender included, and equal data is no update', async (server) => {
    const channel = fresh();
    const [watcher, alice, tab] = await Promise.all(['watcher', 'alice', 'alice'].map((u) => server.connect(u)));
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: { n: 0 } });
    await tab.subscribe(channel);
    await saw(watcher, channel, 1);
    await windows();
    const reply = await alice.ok('presence.update', { channel, data: { n: 1 } });
    assert.equal(reply.type, 'ok');
    for (const client of [watcher, alice, tab]) {
        const update = await client.waitFor((f) => f.type === 'presence.update');
        assert.deepEqual({ ...update }, { type: 'presence.update', channel, userId: 'alice', data: { n: 1 } });
    }
    await alice.ok('presence.update', { channel, data: { n: 1 } });
    await windows();
    await quiet(watcher, alice);
    assert.equal(watcher.presence(channel).filter(([k]) => k === 'update').length, 1);
});

test('presence.update needs presence in the channel', async (server) => {
    const channel = fresh();
    const alice = await server.connect('alice');
    await alice.refused('not_present', 'presence.update', { channel, data: 1 });
    await alice.subscribe(channel);
    await alice.refused('not_present', 'presence.update', { channel, data: 1 });
});

test('of two connections with different data the latest write is the user\'s', async (server) => {
    const channel = fresh();
    const [one, two, watcher] = await Promise.all(['alice', 'alice', 'watcher'].map((u) => server.connect(u)));
    await one.subscribe(channel, { presence: { from: 1 } });
    const second = await two.subscribe(channel, { presence: { from: 2 } });
    assert.deepEqual(second.presence.users[0].data, { from: 2 });
    await one.ok('presence.update', { channel, data: { from: 'one again' } });
    const seen = await watcher.subscribe(channel);
    assert.deepEqual(seen.presence.users[0].data, { from: 'one again' });
    await two.close(1000);
    const { users } = await watcher.ok('presence.get', { channel });
    assert.deepEqual(users[0].data, { from: 'one again' });
});

test('more than one change in a window is one diff, a single one keeps its form', async (server) => {
    const channel = fresh();
    const watcher = await server.connect('watcher');
    await watcher.subscribe(channel);
    const crowd = await Promise.all(Array.from({ length: 12 }, (_, i) => server.connect(`u${i}`)));
    await Promise.all(crowd.map((client) => client.subscribe(channel, { presence: true })));
    await saw(watcher, channel, 12);
    const forms = watcher.frames.filter((f) => f.type === 'presence.join' || f.type === 'presence.diff');
    for (const diff of forms.filter((f) => f.type === 'presence.diff')) {
        assert.ok(diff.joins.length + diff.updates.length + diff.leaves.length > 1, JSON.stringify(diff));
        for (const join of diff.joins) {
            assert.equal(typeof join.connectedAt, 'number');
            assert.equal('type' in join, false);
            assert.equal('channel' in join, false);
        }
    }
    const last = watcher.of('presence.diff', channel).at(-1);
    if (last && forms.at(-1) === last) assert.equal(last.count, 12);
    assert.ok(forms.length < 12, 'something fell into one window');
    assert.deepEqual(new Set(events(watcher, channel)).size, 12, 'each joined once');
    assert.equal(watcher.presence(channel).length, 12);
});

test('changes are sent within the window of 20 ms', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    const times = [];
    for (let round = 0; round < 5; round += 1) {
        const at = Date.now();
        alice.send({ type: 'subscribe', channel, presence: true });
        times.push((await watcher.waitFor((f) => f.type === 'presence.join')).at - at);
        alice.send({ type: 'unsubscribe', channel });
        await watcher.waitFor((f) => f.type === 'presence.leave');
    }
    // The machine may be busy; the window shows in the best of them.
    assert.ok(Math.min(...times) <= 40, `took ${times}`);
});

test('watch count gets counts, watch none nothing', async (server) => {
    const channel = fresh();
    const [counter, silent, alice] = await Promise.all(['counter', 'silent', 'alice'].map((u) => server.connect(u)));
    const seen = await counter.subscribe(channel, { watch: 'count' });
    assert.deepEqual(seen.presence, { count: 0 });
    const nothing = await silent.subscribe(channel, { watch: 'none' });
    assert.equal('presence' in nothing, false);
    await alice.subscribe(channel, { presence: true });
    const count = await counter.waitFor('presence.count');
    assert.deepEqual({ ...count }, { type: 'presence.count', channel, count: 1 });
    await alice.ok('unsubscribe', { channel });
    const zero = await counter.waitFor('presence.count');
    assert.equal(zero.count, 0);
    await windows();
    await quiet(silent, counter);
    assert.deepEqual(events(counter, channel), []);
    assert.equal(silent.frames.filter((f) => String(f.type).startsWith('presence')).length, 0);
});

test('a wrong watch is a bad request that names it', async (server) => {
    const alice = await server.connect('alice');
    const error = await alice.refused('bad_request', 'subscribe', { channel: fresh(), watch: 'all' });
    assert.match(error.message, /watch/);
});

test('presence.get reads without being subscribed', async (server) => {
    const channel = fresh();
    const [alice, bob] = await Promise.all([server.connect('alice'), server.connect('bob')]);
    const joined = await alice.subscribe(channel, { presence: { a: 1 } });
    const reply = await bob.ok('presence.get', { channel });
    assert.equal(reply.type, 'presence');
    assert.equal(reply.channel, channel);
    assert.equal(reply.count, 1);
    assert.deepEqual(reply.users, joined.presence.users);
    assert.equal('stale' in reply, false);
});

test('a newcomer gets the waiting changes in the snapshot and not again', async (server) => {
    const channel = fresh();
    const crowd = await Promise.all(Array.from({ length: 30 }, (_, i) => server.connect(`u${i}`)));
    const replies = await Promise.all(crowd.map((client) => client.subscribe(channel, { presence: true })));
    for (const client of crowd) await client.until(() => {
        const mine = replies[crowd.indexOf(client)].presence.users.length;
        return mine + client.presence(channel).length >= 30;
    });
    await windows();
    await quiet(...crowd);
    crowd.forEach((client, at) => {
        const users = new Set(replies[at].presence.users.map((u) => u.userId));
        assert.ok(users.has(`u${at}`));
        for (const [kind, user] of client.presence(channel)) {
            assert.equal(kind, 'join');
            assert.equal(users.has(user), false, `u${at} was told of ${user} twice`);
            users.add(user);
        }
        assert.equal(users.size, 30);
    });
});

test('presence is per channel', async (server) => {
    const [a, b] = [fresh(), fresh()];
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(a);
    await watcher.subscribe(b);
    await alice.subscribe(a, { presence: true });
    await saw(watcher, a, 1);
    await windows();
    await quiet(watcher);
    assert.deepEqual(events(watcher, b), []);
});

test('no event of a channel comes after its unsubscribed', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    alice.send({ type: 'subscribe', channel, presence: true });
    alice.send({ type: 'publish', channel, data: 1 });
    const reply = await watcher.ok('unsubscribe', { channel });
    await windows();
    await quiet(watcher, alice);
    const after = watcher.frames.slice(watcher.frames.indexOf(reply) + 1).filter((f) => f.channel === channel);
    assert.deepEqual(after, []);
});

test('a leave in one window with its join is told to nobody', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    alice.send({ type: 'subscribe', channel, presence: true });
    alice.send({ type: 'unsubscribe', channel });
    await quiet(alice);
    await windows();
    await quiet(watcher);
    const seen = events(watcher, channel);
    assert.ok(seen.length === 0 || seen.join() === 'join alice,leave alice', `saw ${seen}`);
});

test('closes that a user did not choose linger, those that shut a user out do not', async (server) => {
    const user = fresh('user');
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect(user)]);
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: true });
    await saw(watcher, channel, 1);
    const at = Date.now();
    await server.post(`/v1/users/${user}/disconnect`, { code: 4444 });
    await alice.closesWith(4444);
    const leave = await watcher.waitFor((f) => f.type === 'presence.leave');
    assert.ok(leave.at - at < linger / 2, `after ${leave.at - at} ms`);
});

test('presence data is handed on byte for byte', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    const text = '{"b":1.0, "a":"\\u0041"}';
    alice.send(`{"type":"subscribe","channel":"${channel}","presence":${text}}`);
    const join = await watcher.waitFor('presence.join');
    assert.ok(join.raw.includes(`"data":${text}`), join.raw);
    const reply = await (await server.connect('late')).subscribe(channel);
    assert.ok(reply.raw.includes(text), reply.raw);
});

test('presence:true from a second tab leaves the data that is there', async (server) => {
    const channel = fresh();
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    await one.subscribe(channel, { presence: { n: 1 } });
    const reply = await two.subscribe(channel, { presence: true });
    assert.deepEqual(reply.presence.users[0].data, { n: 1 });
    await one.close(1000);
    assert.deepEqual((await two.ok('presence.get', { channel })).users[0].data, { n: 1 });
});

test('a user who only watches with one connection is present with the other', async (server) => {
    const channel = fresh();
    const [one, two] = await Promise.all([server.connect('alice'), server.connect('alice')]);
    await one.subscribe(channel);
    await two.subscribe(channel, { presence: true });
    const join = await one.waitFor('presence.join');
    assert.equal(join.userId, 'alice', 'another connection of the user is told');
    await one.close(1000);
    await windows();
    assert.equal((await two.ok('presence.get', { channel })).count, 1);
});

test('back after the linger is a leave and a join', async (server) => {
    const channel = fresh();
    const [watcher, alice] = await Promise.all([server.connect('watcher'), server.connect('alice')]);
    await watcher.subscribe(channel);
    await alice.subscribe(channel, { presence: { n: 1 } });
    await alice.cut();
    await saw(watcher, channel, 2);
    const again = await server.connect('alice');
    const reply = await again.subscribe(channel, { presence: true });
    assert.equal('data' in reply.presence.users[0], false, 'data stays only until the user leaves');
    await saw(watcher, channel, 3);
    assert.deepEqual(events(watcher, channel), ['join alice', 'leave alice', 'join alice']);
});

gateway(['--presence.linger_ms=300', '--presence.list_limit=10', '--presence.count_interval_ms=200']);

test('above list_limit changes arrive as counts, and below 80 % the list comes anew', async (server) => {
    const channel = fresh();
    const watcher = await server.connect('watcher');
    await watcher.subscribe(channel);
    const crowd = await Promise.all(Array.from({ length: 14 }, (_, i) => server.connect(`u${String(i).padStart(2, '0')}`)));
    for (const client of crowd) await client.subscribe(channel, { presence: true });
    const over = await watcher.waitFor((f) => f.type === 'presence.count' && f.count === 14);
    assert.equal(over.channel, channel);
    const late = await server.connect('late');
    const seen = await late.subscribe(channel);
    assert.deepEqual(seen.presence, { count: 14 });

    const counts = watcher.of('presence.count', channel);
    for (let at = 1; at < counts.length; at += 1) {
        assert.ok(counts[at].at - counts[at - 1].at >= 120, 'counts came faster than the interval');
    }

    // Page by page the list stays readable.
    const names = [];
    let cursor;
    do {
        const page = await server.get(`/v1/channels/${channel}/presence?limit=4${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`);
        assert.equal(page.status, 200, page.text);
        assert.equal(page.json.count, 14);
        assert.ok(page.json.users.length <= 4);
        names.push(...page.json.users.map((u) => u.userId));
        cursor = page.json.cursor;
    } while (cursor);
    assert.equal(new Set(names).size, 14);
    assert.equal(names.length, 14);

    const mark = watcher.frames.length;
    for (const client of crowd.slice(0, 7)) await client.ok('unsubscribe', { channel });
    const list = await watcher.waitFor((f) => f.type === 'presence' && f.channel === channel);
    assert.equal('id' in list, false);
    assert.equal(list.count, list.users.length);
    assert.ok(list.count < 8 || list.count === 7, `list of ${list.count}`);
    // From that list on the events alternate again.
    await crowd[13].ok('unsubscribe', { channel });
    await watcher.until(() => watcher.frames.slice(mark).some((f) => f.type === 'presence.leave' && f.userId === 'u13'));
});

await main();

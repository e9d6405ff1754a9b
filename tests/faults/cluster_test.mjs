#!/usr/bin/env node
// What any node of a cluster answers for all of them, without a fault: typing, notifications, users, channels, messages to a connection,
// presence read where nobody listens, resume on another node. Two, four and six nodes on one Redis.
import { alone, assert, eventually, fresh, main, quiet } from '../protocol/harness.mjs';
import { Cluster, Redis, constants } from './cluster.mjs';

if (process.argv.includes('--help')) {
    console.log('usage: cluster_test.mjs [--binary PATH] [--only TEXT] [--test-timeout MS]');
    process.exit(0);
}

let cluster;
function story(name, tell, nodes = 3) {
    alone(name, async () => {
        cluster = new Cluster(await Redis.start());
        try {
            await cluster.start({ nodes, shards: 2 });
            await tell(cluster.nodes);
        } finally {
            await cluster.stop();
        }
    });
}

const path = (text) => encodeURIComponent(text);

for (const count of [2, 4, 6]) {
    story(`${count} nodes: everyone sees everyone join, and every message once`, async (nodes) => {
        const channel = fresh();
        const clients = [];
        for (let i = 0; i < count; i += 1) {
            const client = await nodes[i].connect(`user${i}`);
            await client.subscribe(channel, { presence: true });
            clients.push(client);
        }
        await clients[0].until(() => clients[0].presence(channel).length === count - 1);
        for (const client of clients) await client.ok('publish', { channel, data: client.hello.userId });
        for (const client of clients) await client.until(() => client.messages(channel).length === count);
        const order = clients.map((c) => c.messages(channel).map((m) => m.data).join());
        assert.equal(new Set(order).size, 1, 'one order on every node');
        const offsets = clients[0].messages(channel).map((m) => m.offset);
        assert.deepEqual(offsets, Array.from({ length: count }, (_, i) => i + 1));
    }, count);
}

story('typing is seen on the other nodes, ends at once by a message and by itself', async (nodes) => {
    const channel = fresh();
    const ada = await nodes[0].connect('ada');
    const bob = await nodes[1].connect('bob');
    await ada.subscribe(channel);
    await bob.subscribe(channel);
    await ada.ok('typing', { channel });
    await bob.waitFor('typing.start');
    await ada.ok('publish', { channel, data: 1 });
    await bob.waitFor('typing.stop');
    await ada.ok('typing', { channel });
    await bob.waitFor('typing.start');
    const late = await nodes[2].connect('cleo');
    await bob.waitFor('typing.stop', 7000);
    await late.subscribe(channel);
    assert.equal(ada.of('typing.start').length, 0, 'never to who types');
});

story('a notification reaches all devices on all nodes, acknowledged on one, kept for who is away', async (nodes) => {
    const phone = await nodes[0].connect('ada');
    const laptop = await nodes[1].connect('ada');
    const answer = await nodes[2].post('/v1/users/ada/notifications', { data: { n: 1 } });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.devices, 2);
    const first = await phone.waitFor('notification');
    await laptop.waitFor('notification');
    await phone.ok('notification.ack', { offset: first.offset });
    assert.equal((await laptop.waitFor('notification.acked')).offset, first.offset);
    await phone.close();
    await laptop.close();
    await nodes[0].post('/v1/users/ada/notifications', { data: { n: 2 } });
    const back = await nodes[2].connect('ada');
    assert.deepEqual(back.hello.notifications.messages.map((m) => m.data), [{ n: 2 }]);
    assert.equal(back.hello.notifications.recovered, true);
});

story('any node answers for the whole cluster', async (nodes) => {
    const channel = fresh();
    const ada = await nodes[0].connect('ada');
    const tab = await nodes[1].connect('ada');
    const bob = await nodes[1].connect('bob');
    await ada.subscribe(channel, { presence: { mood: 'good' } });
    await tab.subscribe(channel);
    await bob.subscribe(channel, { presence: true });
    const user = await eventually(async () => {
        const answer = await nodes[2].get('/v1/users/ada');
        return answer.json.connections.length === 2 && answer;
    });
    assert.equal(user.json.online, true);
    assert.equal(user.json.partial, undefined);
    assert.equal(new Set(user.json.connections.map((c) => c.nodeId)).size, 2);
    const channels = await nodes[2].get(`/v1/channels?prefix=${path(channel)}`);
    assert.deepEqual(channels.json.channels, [{ channel, subscribers: 3, present: 2 }]);
    const presence = await nodes[2].get(`/v1/channels/${path(channel)}/presence`);
    assert.equal(presence.json.count, 2);
    assert.deepEqual(presence.json.users.map((u) => u.userId), ['ada', 'bob']);
    assert.deepEqual(presence.json.users[0].data, { mood: 'good' });
    assert.equal((await nodes[2].get(`/v1/channels/${path(channel)}/presence/count`)).json.count, 2);
    const listed = await nodes[2].get('/v1/nodes');
    assert.equal(listed.json.nodes.length, 3);
    for (const { leaseAgeMs } of listed.json.nodes) assert.ok(leaseAgeMs >= 0 && leaseAgeMs < constants.lease, `${leaseAgeMs}`);
    assert.equal(listed.json.nodes.reduce((sum, n) => sum + n.connections, 0), 3);
});

story('a message to one connection, and the end of a user, from another node', async (nodes) => {
    const ada = await nodes[0].connect('ada');
    const id = ada.hello.connectionId;
    assert.equal((await nodes[1].post(`/v1/connections/${id}/messages`, { data: 7 })).status, 202);
    assert.equal((await ada.waitFor('direct')).data, 7);
    assert.equal((await nodes[1].post(`/v1/connections/${id}9/messages`, { data: 7 })).status, 404);
    const channel = fresh();
    assert.equal((await nodes[2].post('/v1/users/ada/subscribe', { channel })).json.connections, 1);
    await ada.waitFor((f) => f.type === 'subscribed' && f.channel === channel);
    assert.equal((await nodes[2].post('/v1/users/ada/unsubscribe', { channel })).json.connections, 1);
    await ada.waitFor('unsubscribed');
    assert.equal((await nodes[2].post('/v1/users/ada/disconnect', { code: 4123, reason: 'enough' })).json.connections, 1);
    await ada.closesWith(4123);
});

story('exclude and echo:false hold on other nodes, offsets stay consecutive', async (nodes) => {
    const channel = fresh();
    const ada = await nodes[0].connect('ada');
    const bob = await nodes[1].connect('bob');
    await ada.subscribe(channel);
    await bob.subscribe(channel);
    await nodes[2].publish(channel, { data: 'not to bob', exclude: bob.hello.connectionId });
    await ada.waitFor((f) => f.type === 'message' && f.data === 'not to bob');
    const blank = await bob.waitFor('message');
    assert.equal(blank.data, undefined);
    assert.equal(blank.offset, 1);
});

story('a publish with one key on three nodes is one message', async (nodes) => {
    const channel = fresh();
    const bob = await nodes[0].connect('bob');
    await bob.subscribe(channel);
    const answers = await Promise.all(nodes.map((node) => node.publish(channel, { data: 1, key: 'once' })));
    assert.equal(new Set(answers.map((a) => a.json.messageId)).size, 1);
    assert.equal(answers.filter((a) => a.json.duplicate).length, 2);
    await bob.waitFor('message');
    await quiet(bob);
    assert.equal(bob.messages(channel).length, 1);
});

story('recover on another node gives what was missed, once', async (nodes) => {
    const channel = fresh();
    const ada = await nodes[0].connect('ada');
    const { position } = await ada.subscribe(channel);
    await ada.cut();
    for (let i = 1; i <= 5; i += 1) await nodes[1].publish(channel, { data: i });
    const again = await nodes[2].connect({ user: 'ada', resume: ada.hello.resume });
    assert.equal(again.hello.resumed, true);
    const reply = await again.subscribe(channel, { recover: position });
    assert.equal(reply.recovered, true);
    assert.deepEqual(reply.messages.map((m) => m.data), [1, 2, 3, 4, 5]);
    await nodes[0].publish(channel, { data: 6 });
    assert.equal((await again.waitFor('message')).offset, 6);
});

story('DELETE on one node begins a new epoch for subscribers on all', async (nodes) => {
    const channel = fresh();
    const ada = await nodes[0].connect('ada');
    const { position } = await ada.subscribe(channel);
    await nodes[1].publish(channel, { data: 1 });
    await ada.waitFor('message');
    assert.equal((await nodes[1].http('DELETE', `/v1/channels/${path(channel)}/messages`)).status, 204);
    assert.equal((await ada.waitFor('unsubscribed')).code, 'unrecoverable');
    const reply = await ada.subscribe(channel, { recover: position });
    assert.equal(reply.recovered, false);
    assert.equal(reply.reason, 'epoch');
});

await main();

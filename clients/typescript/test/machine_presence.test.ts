// Who is there, who types and what was notified, as the machine keeps it. Against a scripted gateway on virtual time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ev } from '../src/machine_types';
import { Driver, world } from './driver';
import { type Json } from './sim';

const data = (messages: Json[]): Json[] => messages.map((message) => message.data);

test('presence: the list, who comes, who goes, and what a return changes', () => {
    const { time, gateway, ada } = world();
    const bob = new Driver(time, gateway, 'bob');
    ada.enter('doc:1', { color: 'red' });
    time.run(100);
    bob.enter('doc:1', { color: 'blue' });
    time.run(100);
    const channel = (): any => ada.state._channels.get('doc:1');
    assert.deepEqual(channel()._members.map((one: Json) => one.userId), ['ada', 'bob']);
    assert.deepEqual(channel()._others.map((one: Json) => one.data), [{ color: 'blue' }]);
    bob.update('doc:1', { color: 'green' });
    time.run(100);
    assert.deepEqual(ada.of('presence', 'doc:1').at(-1).updated.map((one: Json) => one.data), [{ color: 'green' }]);
    const ada_before = channel()._members[0];
    ada.seen.length = 0;
    ada.lose();
    time.run(2000);
    // The same people as before: nothing has changed for whoever looks.
    assert.equal(ada.of('presence', 'doc:1').length, 0);
    assert.equal(channel()._members[0], ada_before);
    bob.dispatch({ _t: Ev.Close });
    time.run(100);
    assert.deepEqual(ada.of('presence', 'doc:1').map((change) => change.left.map((one: Json) => one.userId)), [['bob']]);
    assert.equal(channel()._count, 1);
});

test('presence data: the last one counts while offline', () => {
    const { time, gateway, ada } = world();
    ada.enter('doc:1', 1);
    time.run(100);
    ada.lose();
    ada.update('doc:1', 2);
    ada.update('doc:1', 3);
    time.run(2000);
    assert.equal(ada.frames('presence.update').length, 0);
    assert.deepEqual(gateway.members('doc:1').map((one) => one.data), [3]);
    ada.update('doc:1', 3);
    assert.equal(ada.frames('presence.update').length, 0);
    ada.update('doc:1', 4);
    assert.equal(ada.frames('presence.update').length, 1);
});

test('entering and leaving a live channel loses no message', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.enter('doc:1', 1);
    gateway.publish('doc:1', 'a');
    time.run(100);
    assert.deepEqual(gateway.members('doc:1').length, 1);
    ada.dispatch({ _t: Ev.Enter, _channel: 'doc:1', _by: -Infinity });
    ada.tick();
    gateway.publish('doc:1', 'b');
    time.run(100);
    assert.equal(gateway.members('doc:1').length, 0);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['a', 'b']);
    assert.equal(ada.of('gap', 'doc:1').length, 0);
});

test('a list that grows too long becomes a count, and comes back', () => {
    const { time, gateway, ada } = world();
    ada.enter('doc:1');
    time.run(100);
    const [connection] = gateway.connections;
    connection!.wire.toClient({ type: 'presence.count', channel: 'doc:1', count: 1001 });
    time.run(100);
    const channel = (): any => ada.state._channels.get('doc:1');
    assert.deepEqual([channel()._count, channel()._members.length], [1001, 0]);
    connection!.wire.toClient({ type: 'presence', channel: 'doc:1', count: 2, users: [{ userId: 'ada', connectedAt: 1 }, { userId: 'bob', connectedAt: 1 }] });
    connection!.wire.toClient({ type: 'presence.diff', channel: 'doc:1', count: 2, joins: [{ userId: 'cyd', connectedAt: 2 }], updates: [{ userId: 'ada', data: 1 }], leaves: [{ userId: 'bob' }] });
    time.run(100);
    assert.deepEqual(channel()._members.map((one: Json) => [one.userId, one.data]), [['ada', 1], ['cyd', undefined]]);
});

test('typing is repeated while keys are pressed, ends, and survives a return', () => {
    const { time, gateway, ada } = world();
    const bob = new Driver(time, gateway, 'bob');
    ada.subscribe('doc:1');
    bob.subscribe('doc:1');
    time.run(100);
    const key = (active = true): void => ada.dispatch({ _t: Ev.Key, _channel: 'doc:1', _by: active ? 1 : 0 });
    for (let i = 0; i < 60; i += 1) { key(); time.run(100); }
    assert.equal(ada.frames('typing').length, 3);
    assert.deepEqual(bob.state._channels.get('doc:1')!._typing, ['ada']);
    key(false);
    key(false);
    time.run(100);
    assert.equal(ada.frames('typing').length, 4);
    assert.deepEqual(bob.state._channels.get('doc:1')!._typing, []);
    key();
    ada.lose();
    ada.sent.length = 0;
    time.run(1500);
    assert.equal(ada.frames('typing').length, 1);
    bob.lose();
    assert.deepEqual(bob.state._channels.get('doc:1')!._typing, []);
});

test('notifications: the unread of all devices, told once', () => {
    const { time, gateway, ada } = world();
    gateway.notify('before');
    ada.dispatch({ _t: Ev.Connect });
    time.run(100);
    assert.deepEqual(data([...ada.state._notes]), ['before']);
    assert.equal(ada.of('notification').length, 0);
    gateway.notify('live');
    time.run(100);
    ada.lose();
    gateway.notify('missed');
    time.run(2000);
    assert.deepEqual(data(ada.of('notification')), ['live', 'missed']);
    const other = new Driver(time, gateway, 'ada');
    other.dispatch({ _t: Ev.Connect });
    time.run(100);
    other.request({ type: 'notification.ack', offset: 2 });
    time.run(100);
    assert.equal(ada.state._acked, 2);
    ada.lose();
    other.request({ type: 'notification.ack', offset: 3 });
    time.run(2000);
    assert.equal(ada.state._acked, 3);
    assert.deepEqual(data([...ada.state._notes]), ['before', 'live', 'missed']);
});

test('what was marked as read while offline is told after the return', () => {
    const { time, gateway, ada } = world();
    gateway.notify('one');
    ada.dispatch({ _t: Ev.Connect });
    time.run(100);
    gateway.up = false;
    ada.lose();
    ada.request({ type: 'notification.ack', offset: 1 });
    time.run(30_000);
    gateway.up = true;
    time.run(21_000);
    assert.deepEqual([ada.state._acked, gateway.acked], [1, 1]);
});

test('a gateway that lost its memory: who is not back yet is not seen to leave, who stays away is', () => {
    const { time, gateway, ada } = world();
    const crew = ['bob', 'cyd'].map((user) => new Driver(time, gateway, user));
    ada.enter('doc:1');
    for (const one of crew) { one.enter('doc:1'); }
    time.run(100);
    ada.seen.length = 0;
    // Started anew: bob is back after ada, and cyd is not.
    gateway.forget();
    ada.lose();
    time.run(2000);
    const channel = (): any => ada.state._channels.get('doc:1');
    assert.deepEqual([ada.name, gateway.members('doc:1').length], ['online', 1]);
    assert.deepEqual([channel()._count, channel()._others.map((one: Json) => one.userId)], [3, ['bob', 'cyd']]);
    const dan = new Driver(time, gateway, 'dan');
    dan.enter('doc:1');
    time.run(100);
    assert.deepEqual(ada.of('presence', 'doc:1').map((change) => [change.joined, change.left].map((list) => list.map((one: Json) => one.userId))), [[['dan'], []]]);
    crew[0]!.lose();
    time.run(18_000);
    assert.deepEqual(ada.of('presence', 'doc:1').length, 1);
    time.run(5_000);
    assert.deepEqual(ada.of('presence', 'doc:1').flatMap((change) => change.left.map((one: Json) => one.userId)), ['cyd']);
    assert.deepEqual([channel()._count, channel()._members.map((one: Json) => one.userId).sort()], [3, ['ada', 'bob', 'dan']]);
});

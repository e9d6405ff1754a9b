// The machine against a scripted gateway on virtual time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayReconnect } from '../src/machine';
import { Ev } from '../src/machine_types';
import { Driver } from './driver';
import { Gateway, Time, type Json } from './sim';

function world(kind?: (channel: string) => 'history' | 'plain' | 'latest', settings: Json = {}): { time: Time; gateway: Gateway; ada: Driver } {
    const time = new Time();
    const gateway = new Gateway(time, kind);
    const ada = new Driver(time, gateway, 'ada', settings);
    ada.pure = true;
    return { time, gateway, ada };
}
const data = (messages: Json[]): Json[] => messages.map((message) => message.data);

test('connects when something is asked of it, and not before', () => {
    const { time, gateway, ada } = world();
    time.run(60_000);
    assert.equal(ada.opens, 0);
    ada.subscribe('doc:1');
    assert.equal(ada.name, 'connecting');
    time.run(100);
    assert.equal(ada.name, 'online');
    gateway.publish('doc:1', 'hello');
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['hello']);
});

test('comes back after a cut with what was missed, once and in order', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    gateway.publish('doc:1', 1);
    time.run(100);
    ada.lose();
    assert.equal(ada.name, 'waiting');
    gateway.publish('doc:1', 2);
    gateway.publish('doc:1', 3);
    time.run(2000);
    gateway.publish('doc:1', 4);
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), [1, 2, 3, 4]);
    assert.equal(ada.of('gap', 'doc:1').length, 0);
    assert.deepEqual(ada.frames('subscribe').at(-1).recover.offset, 1);
});

test('rejoins all channels with one frame each', () => {
    const { time, ada } = world();
    for (let i = 0; i < 50; i += 1) { ada.subscribe(`doc:${i}`); }
    time.run(100);
    ada.sent.length = 0;
    ada.lose();
    time.run(2000);
    assert.equal(ada.sent.length, 51);
    assert.deepEqual(ada.sent.map((frame) => frame.type), ['connect', ...Array(50).fill('subscribe')]);
});

test('a gap is told exactly once', () => {
    const { time, gateway, ada } = world();
    gateway.historySize = 3;
    ada.subscribe('doc:1');
    time.run(100);
    gateway.publish('doc:1', 0);
    time.run(100);
    ada.lose();
    for (let i = 1; i <= 10; i += 1) { gateway.publish('doc:1', i); }
    time.run(2000);
    const gaps = ada.of('gap', 'doc:1');
    assert.equal(gaps.length, 1);
    assert.deepEqual([gaps[0].reason, gaps[0].from.offset, gaps[0].to.offset], ['gap', 1, 11]);
    ada.lose();
    time.run(2000);
    assert.equal(ada.of('gap', 'doc:1').length, 1);
    gateway.publish('doc:1', 11);
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), [0, 11]);
});

test('an unrecoverable channel is subscribed afresh, with a gap', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    gateway.publish('doc:1', 'old');
    time.run(100);
    gateway.reset('doc:1');
    time.run(100);
    assert.deepEqual(ada.of('gap', 'doc:1').map((gap) => gap.reason), ['epoch']);
    gateway.publish('doc:1', 'new');
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['old', 'new']);
});

test('a channel without history tells that it was away', () => {
    const { time, gateway, ada } = world(() => 'plain');
    ada.subscribe('cursor:1');
    time.run(100);
    assert.equal(ada.of('gap', 'cursor:1').length, 0);
    ada.lose();
    gateway.publish('cursor:1', 'unseen');
    time.run(2000);
    assert.deepEqual(ada.of('gap', 'cursor:1').map((gap) => gap.reason), ['unrecorded']);
});

test('latest values come at once, are not repeated, and are kept by key', () => {
    const { time, gateway, ada } = world(() => 'latest');
    gateway.publish('price', 1, undefined, { conflateKey: 'eur' });
    ada.subscribe('price');
    time.run(100);
    gateway.publish('price', 7, undefined, { conflateKey: 'usd' });
    time.run(100);
    ada.lose();
    gateway.publish('price', 2, undefined, { conflateKey: 'eur' });
    time.run(2000);
    assert.deepEqual(data(ada.of('message', 'price')), [1, 7, 2]);
    assert.equal(ada.of('gap', 'price').length, 0);
    assert.equal(ada.state._channels.get('price')!._latest.get('eur')!.data, 2);
});

test('echo: false moves the position and hands nothing on', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.publish('doc:1', 'mine', { echo: false });
    time.run(100);
    gateway.publish('doc:1', 'theirs');
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['theirs']);
    assert.equal(ada.of('gap', 'doc:1').length, 0);
});

test('skipped messages of a slow client are a gap', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    const [connection] = gateway.connections;
    connection!.wire.toClient({ type: 'message', channel: 'doc:1', data: 1, id: 'x', offset: 5, skipped: 4, time: 1 });
    time.run(100);
    assert.deepEqual(ada.of('gap', 'doc:1').map((gap) => gap.reason), ['slow']);
    assert.deepEqual(data(ada.of('message', 'doc:1')), [1]);
});

test('a publish whose answer was lost is sent again with its key and done once', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    const handle = ada.publish('doc:1', 'once');
    time.run(6);    // It has arrived, and the answer is on its way.
    assert.equal(gateway.truth.get('doc:1')!.length, 1);
    ada.lose();
    time.run(2000);
    assert.equal(ada.settled.get(handle)!.value.duplicate, true);
    assert.equal(gateway.truth.get('doc:1')!.length, 1);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['once']);
});

test('publishes wait while offline, in order, bounded and timed', () => {
    const { time, gateway, ada } = world(undefined, { _queue: 3, _publishTimeout: 30_000 });
    gateway.up = false;
    const handles = [1, 2, 3, 4].map((n) => ada.publish('doc:1', n));
    assert.equal(ada.settled.get(handles[3]!)!.fault.code, 'queue_full');
    time.run(10_000);
    gateway.up = true;
    time.run(25_000);
    assert.deepEqual(data(gateway.truth.get('doc:1')!), [1, 2, 3]);
    gateway.up = false;
    ada.lose();
    const late = ada.publish('doc:1', 5);
    time.run(30_001);
    assert.equal(ada.settled.get(late)!.fault.code, 'timeout');
    gateway.up = true;
    time.run(60_000);
    assert.equal(gateway.truth.get('doc:1')!.length, 3);
});

test('after a return it subscribes before it publishes, so that own messages are seen', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.lose();
    gateway.reset('doc:1');
    ada.publish('doc:1', 'mine');
    time.run(2000);
    assert.deepEqual(data(ada.of('message', 'doc:1')), ['mine']);
});

test('a retryable refusal is tried again, another is told', () => {
    const { time, gateway, ada } = world();
    let times = 0;
    gateway.refuse = (frame) => frame.type === 'publish' && ++times < 3 ? { code: 'unavailable', retryable: true } : undefined;
    const handle = ada.publish('doc:1', 1);
    time.run(5000);
    assert.equal(ada.settled.get(handle)!.value.messageId.slice(0, 1), 'm');
    gateway.refuse = () => ({ code: 'forbidden', retryable: false });
    const refused = ada.publish('doc:1', 2);
    time.run(100);
    assert.equal(ada.settled.get(refused)!.fault.code, 'forbidden');
});

test('a refused channel fails and may be asked for again', () => {
    const { time, gateway, ada } = world();
    gateway.refuse = (frame) => frame.type === 'subscribe' ? { code: 'forbidden', retryable: false } : undefined;
    ada.subscribe('secret');
    time.run(60_000);
    assert.equal(ada.frames('subscribe').length, 1);
    assert.deepEqual(ada.of('error', 'secret').map((error) => error.code), ['forbidden']);
    gateway.refuse = () => undefined;
    ada.subscribe('secret');
    time.run(100);
    assert.deepEqual(ada.of('state', 'secret'), ['joining', 'failed', 'joining', 'live']);
});

test('a subscription that is not available now comes later', () => {
    const { time, gateway, ada } = world();
    let times = 0;
    gateway.refuse = (frame) => frame.type === 'subscribe' && ++times < 4 ? { code: 'unavailable', retryable: true } : undefined;
    ada.subscribe('doc:1');
    time.run(20_000);
    assert.equal(times, 4);
    assert.equal(ada.state._channels.get('doc:1')!._status, 'live');
});

test('what the server subscribed by itself is taken over', () => {
    const { time, gateway, ada } = world();
    ada.dispatch({ _t: Ev.Connect });
    time.run(100);
    const [connection] = gateway.connections;
    gateway.receive(connection!, { type: 'subscribe', channel: 'doc:1' });
    ada.subscribe('doc:1');
    time.run(100);
    gateway.publish('doc:1', 1);
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), [1]);
});

test('coming and going in one moment costs no frame', () => {
    const { time, ada } = world();
    ada.dispatch({ _t: Ev.Connect });
    time.run(100);
    ada.sent.length = 0;
    ada.dispatch({ _t: Ev.Retain, _channel: 'doc:1', _by: 1 });
    ada.dispatch({ _t: Ev.Retain, _channel: 'doc:1', _by: -1 });
    ada.tick();
    time.run(100);
    assert.equal(ada.sent.length, 0);
    ada.dispatch({ _t: Ev.Retain, _channel: 'doc:1', _by: 1 });
    ada.dispatch({ _t: Ev.Enter, _channel: 'doc:1', _by: 1, _data: { name: 'Ada' } });
    ada.tick();
    assert.deepEqual(ada.sent.map((frame) => [frame.type, frame.presence]), [['subscribe', { name: 'Ada' }]]);
});

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

test('backoff grows with full jitter to 20 s, and starts anew only after 5 s up', () => {
    const { time, gateway, ada } = world();
    gateway.up = false;
    ada.dispatch({ _t: Ev.Connect });
    for (let i = 0; i < 12; i += 1) {
        time.run(6);
        const wait = ada.state._retryAt - time.now;
        assert.ok(wait >= -6 && wait <= Math.min(20_000, 500 * 2 ** i), `attempt ${i} waits ${wait}`);
        time.run(Math.max(0, wait));
    }
    gateway.up = true;
    time.run(21_000);
    assert.equal(ada.name, 'online');
    time.run(0);
    ada.lose();
    time.run(0);
    const attempts = ada.state._attempt;
    assert.ok(attempts > 1 || attempts === 1);
    time.run(21_000);
    time.run(5_100);
    ada.lose();
    assert.equal(ada.state._attempt, 1);
    assert.ok(ada.state._retryAt - time.now <= 500);
});

test('short lives keep the backoff growing', () => {
    const { time, ada } = world();
    ada.dispatch({ _t: Ev.Connect });
    for (let i = 1; i <= 6; i += 1) {
        while (ada.name !== 'online') { time.run(10); }
        ada.lose();
        assert.equal(ada.state._attempt, i);
    }
});

test('close codes decide', () => {
    const again = [1001, 1006, 1011, 1012, 1013, 4002, 4004, 4006, 4007, 4008, 4009, 4010];
    for (let code = 1000; code < 5000; code += 1) { assert.equal(mayReconnect(code), again.includes(code), String(code)); }
    for (const code of [4001, 4003, 4005, 4002]) {
        const { time, ada } = world();
        ada.subscribe('doc:1');
        const handle = ada.publish('doc:1', 1);
        time.run(100);
        const waiting = ada.publish('doc:1', 2);
        ada.lose(code);
        assert.equal(ada.name, 'closed', String(code));
        assert.ok(ada.settled.get(handle)!.value);
        assert.ok(ada.settled.get(waiting)!.fault.code);
        time.run(60_000);
        assert.equal(ada.opens, 1);
        // Nothing but connect() begins again.
        ada.subscribe('doc:2');
        assert.ok(ada.settled.get(ada.publish('doc:1', 3))!.fault);
        assert.equal(ada.opens, 1);
        ada.dispatch({ _t: Ev.Connect });
        time.run(100);
        assert.equal(ada.name, 'online');
        assert.equal(ada.frames('subscribe').at(-1).channel, 'doc:2');
    }
});

test('an expired token is replaced where there is a function', () => {
    const { time, gateway, ada } = world(undefined, { _fresh: true });
    gateway.expiresIn = 100_000;
    ada.dispatch({ _t: Ev.Connect });
    time.run(100);
    time.run(80_000);
    assert.equal(ada.frames('refresh').length, 1);
    time.run(400_000);
    assert.equal(ada.frames('refresh').length, 6);
    ada.lose(4002);
    assert.equal(ada.name, 'waiting');
    time.run(1000);
    assert.equal(ada.name, 'online');
});

test('a node that goes: the new link comes up before the old one is closed', () => {
    const { time, gateway, ada } = world((channel) => channel.startsWith('cursor') ? 'plain' : 'history');
    const bob = new Driver(time, gateway, 'bob');
    bob.subscribe('doc:1');
    ada.enter('doc:1');
    ada.subscribe('cursor:1');
    time.run(100);
    const [first] = [...gateway.connections].filter((one) => one.user === 'ada');
    bob.seen.length = 0;
    first!.wire.toClient({ type: 'reconnect', delay: 3000 });
    time.run(2900);
    assert.equal(ada.opens, 1);
    let n = 0;
    for (let i = 0; i < 300; i += 1) {
        gateway.publish('doc:1', ++n);
        gateway.publish('cursor:1', n);
        time.run(1);
        assert.equal(ada.name, 'online');
    }
    assert.equal(ada.opens, 2);
    assert.equal(first!.open, true);
    time.run(1000);
    assert.equal(first!.open, false);
    const all = Array.from({ length: n }, (_, i) => i + 1);
    assert.deepEqual(data(ada.of('message', 'doc:1')), all.slice(0, ada.of('message', 'doc:1').length));
    assert.ok(ada.of('message', 'doc:1').length > 280);
    const cursor = data(ada.of('message', 'cursor:1'));
    assert.deepEqual([...new Set(cursor)].sort((a, b) => a - b), cursor);
    assert.equal(ada.of('gap', 'cursor:1').length, 1);
    // Nobody saw ada go.
    assert.equal(bob.of('presence', 'doc:1').length, 0);
});

test('a dead network is found by a deadline', () => {
    const { time, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.kill();
    time.run(24_000);
    assert.equal(ada.name, 'online');
    time.run(12_000);
    assert.notEqual(ada.opens, 1);
    time.run(3000);
    assert.equal(ada.name, 'online');
    assert.equal(ada.frames('ping').length, 1);
});

test('waking from a long sleep asks before it gives up, and asks once', () => {
    const { time, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    // The clock jumps; the timers of that time fire late, and all at once.
    time.now += 3_600_000;
    ada.dispatch({ _t: Ev.Wake });
    time.run(1000);
    assert.equal(ada.opens, 1);
    assert.equal(ada.name, 'online');
    ada.kill();
    time.now += 3_600_000;
    ada.dispatch({ _t: Ev.Wake });
    time.run(5000);
    assert.equal(ada.opens, 2);
    time.run(1000);
    assert.equal(ada.name, 'online');
});

test('waking while it waits connects at once', () => {
    const { time, gateway, ada } = world();
    gateway.up = false;
    ada.subscribe('doc:1');
    time.run(120_000);
    gateway.up = true;
    while (ada.name !== 'waiting') { time.run(1); }
    ada.dispatch({ _t: Ev.Wake });
    time.run(50);
    assert.equal(ada.name, 'online');
});

test('a page that is put aside closes, and comes back with what it missed', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.dispatch({ _t: Ev.Hide });
    time.run(100);
    assert.equal(gateway.connections.size, 0);
    gateway.publish('doc:1', 1);
    time.run(600_000);
    assert.equal(ada.opens, 1);
    ada.dispatch({ _t: Ev.Wake });
    time.run(100);
    assert.deepEqual(data(ada.of('message', 'doc:1')), [1]);
});

test('lost is told once, late, and taken back', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    ada.lose();
    time.run(3000);
    assert.equal(ada.of('lost').length, 0);
    gateway.up = false;
    ada.lose();
    time.run(60_000);
    assert.equal(ada.of('lost').length, 1);
    assert.equal(ada.state._view.lost, true);
    gateway.up = true;
    time.run(21_000);
    assert.equal(ada.state._view.lost, false);
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

test('close is final', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    time.run(100);
    const waiting = ada.publish('doc:1', 1);
    ada.dispatch({ _t: Ev.Close });
    assert.equal(ada.settled.get(waiting)!.fault.code, 'closed');
    time.run(100);
    assert.equal(gateway.connections.size, 0);
    ada.dispatch({ _t: Ev.Wake });
    ada.dispatch({ _t: Ev.Connect });
    ada.subscribe('doc:2');
    assert.equal(ada.settled.get(ada.publish('doc:1', 2))!.fault.code, 'closed');
    time.run(60_000);
    assert.equal(ada.opens, 1);
    assert.equal(ada.name, 'closed');
});

test('channel names that objects have too are names', () => {
    const { time, gateway, ada } = world();
    for (const name of ['__proto__', 'constructor', 'a b', 'é']) {
        ada.subscribe(name);
        time.run(100);
        gateway.publish(name, name);
        time.run(100);
        assert.deepEqual(data(ada.of('message', name)), [name]);
    }
});

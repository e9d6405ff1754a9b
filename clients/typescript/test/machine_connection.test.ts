// The machine comes, goes and comes back: connecting, backoff, close codes, deadlines, waking. Against a scripted gateway on virtual time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ev } from '../src/machine_types';
import { Driver, world } from './driver';
import { type Json } from './sim';

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
    const again = [1001, 1006, 1009, 1011, 1012, 1013, 4004, 4006, 4007, 4008, 4009, 4010];
    for (let code = 1000; code < 5000; code = code === 1020 ? 3990 : code === 4120 ? 4990 : code + 1) {
        const { time, ada } = world();
        ada.subscribe('doc:1');
        time.run(100);
        ada.lose(code);
        assert.equal(ada.name, again.includes(code) ? 'waiting' : 'closed', String(code));
    }
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

test('a frame past the limit is refused, with what was on its way beside it; the rest goes on', () => {
    const { time, gateway, ada } = world();
    ada.subscribe('doc:1');
    ada.subscribe('doc:2');
    time.run(100);
    const [connection] = gateway.connections;
    const answered = ada.publish('doc:1', 'answered');
    time.run(100);
    ada.enter('doc:2', 'far too large');
    const large = ada.publish('doc:1', 'far too large');
    connection!.wire.toClient({ type: 'error', code: 'too_large', message: 'frame: the limit frame_bytes is 131072', retryable: false });
    gateway.close(connection!, 1009, 'frame too large');
    time.run(3000);
    assert.ok(ada.settled.get(answered)!.value);
    assert.equal(ada.settled.get(large)!.fault.code, 'too_large');
    // Nothing of it goes out again, or it would end the next connection too.
    assert.deepEqual([ada.name, ada.opens], ['online', 2]);
    assert.deepEqual(['doc:1', 'doc:2'].map((name) => ada.state._channels.get(name)!._status), ['live', 'failed']);
    time.run(60_000);
    assert.equal(ada.opens, 2);
});

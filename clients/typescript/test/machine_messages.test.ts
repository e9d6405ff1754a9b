// Messages through the machine: recovery, gaps, latest values, publishing, subscriptions. Against a scripted gateway on virtual time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ev } from '../src/machine_types';
import { world } from './driver';
import { type Json } from './sim';

const data = (messages: Json[]): Json[] => messages.map((message) => message.data);

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

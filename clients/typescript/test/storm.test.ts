// A thousand seeded runs against a gateway and a network that fail as the seed wants. Handlers see messages in
// order, none twice, and none is missing without a gap event; a publish that was acknowledged is there once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ev } from '../src/machine_types';
import { Driver } from './driver';
import { Gateway, Random, Time, type Json } from './sim';

const kRuns = Number(process.env['STORM_RUNS'] ?? 1000);
const kFirst = Number(process.env['STORM_SEED'] ?? 1);
const kChannels = ['doc:1', 'doc:2', 'plain:1', 'latest:1'];

function run(seed: number): { messages: number; gaps: number; cuts: number } {
    const random = new Random(seed);
    const time = new Time();
    const gateway = new Gateway(time, (channel) => channel.startsWith('doc') ? 'history' : channel.startsWith('plain') ? 'plain' : 'latest');
    gateway.historySize = 5 + random.below(60);
    gateway.expiresIn = random.chance(0.5) ? 20_000 + random.below(60_000) : undefined;
    const client = new Driver(time, gateway, 'ada', { _fresh: true, _random: random.next() });
    client.pure = seed % 50 === 0;
    const bob = new Driver(time, gateway, 'bob', { _fresh: true, _random: random.next() });
    const latency = 1 + random.below(300);
    client.delay = bob.delay = () => random.below(latency);
    const flaky = random.next() * 0.05;
    gateway.refuse = (frame) => random.chance(flaky) && frame.type !== 'unsubscribe' ? { code: 'unavailable', retryable: true } : undefined;
    let cuts = 0;
    const acts: [number, () => void][] = [
        [20, () => { gateway.publish(kChannels[random.below(4)]!, `s${time.now}`, undefined, { conflateKey: `k${random.below(3)}` }); }],
        [10, () => { client.publish(kChannels[random.below(3)]!, `c${time.now}`, random.chance(0.2) ? { echo: false } : {}); }],
        [2, () => { cuts += 1; client.lose([1006, 1001, 4008, 4002, 1013][random.below(5)]); }],
        [1, () => { cuts += 1; client.kill(); }],
        [1, () => { gateway.up = false; client.lose(); time.at(random.below(40_000), () => { gateway.up = true; }); }],
        [2, () => { for (const one of gateway.connections) { one.wire.toClient({ type: 'reconnect', delay: random.below(3000) }); } }],
        [1, () => { gateway.reset(kChannels[random.below(2)]!); }],
        [1, () => { cuts += 1; gateway.forget(); client.lose(); time.at(random.below(3000), () => bob.lose()); }],
        [1, () => { for (const one of [...gateway.connections]) { gateway.close(one, [1012, 4009, 4010][random.below(3)]!); } }],
        [2, () => { client.dispatch({ _t: Ev.Wake }); }],
        [1, () => { client.dispatch({ _t: Ev.Hide }); time.at(random.below(30_000), () => client.dispatch({ _t: Ev.Wake })); }],
        [2, () => { client.enter(kChannels[random.below(4)]!, random.below(5)); }],
        [2, () => { client.dispatch({ _t: Ev.Enter, _channel: kChannels[random.below(4)]!, _by: -Infinity }); client.tick(); }],
        [2, () => { bob.enter(kChannels[random.below(4)]!, random.below(5)); }],
        [2, () => { bob.dispatch({ _t: Ev.Enter, _channel: kChannels[random.below(4)]!, _by: -Infinity }); bob.tick(); }],
        [1, () => { bob.lose(); }],
        [3, () => { client.dispatch({ _t: Ev.Key, _channel: kChannels[random.below(4)]!, _by: random.chance(0.7) ? 1 : 0 }); }],
        [1, () => { time.now += random.below(60_000); }],     // The machine slept.
    ];
    const total = acts.reduce((sum, [weight]) => sum + weight, 0);
    for (const channel of kChannels) { client.subscribe(channel); }
    for (let i = 0; i < 120; i += 1) {
        let pick = random.below(total);
        for (const [weight, act] of acts) { if ((pick -= weight) < 0) { act(); break; } }
        time.run(random.below(random.chance(0.1) ? 15_000 : 400));
    }
    // All heals, and one message more tells whoever was left behind.
    gateway.refuse = () => undefined;
    gateway.up = true;
    client.dispatch({ _t: Ev.Wake });
    bob.dispatch({ _t: Ev.Wake });
    time.run(120_000);
    for (const channel of kChannels) { gateway.publish(channel, 'last', undefined, { conflateKey: 'k0' }); }
    time.run(10_000);
    assert.equal(client.name, 'online');
    check(gateway, client);
    return { messages: client.seen.filter((one) => one.name === 'message').length, gaps: client.seen.filter((one) => one.name === 'gap').length, cuts };
}

const plain = (members: readonly Json[]): Json[] => members.map(({ userId, data }) => ({ userId, data })).sort((a, b) => a.userId < b.userId ? -1 : 1);

function check(gateway: Gateway, client: Driver): void {
    for (const channel of kChannels) {
        // Who is there, and what the events made of it on the way: strictly one join and one leave after the other.
        const kept = client.state._channels.get(channel)!;
        assert.deepEqual(plain(kept._members), plain(gateway.members(channel)), `${channel}: presence`);
        const present = new Set<string>();
        for (const { joined, left } of client.of('presence', channel)) {
            for (const { userId } of joined) { assert.ok(!present.has(userId), `${channel}: ${userId} joined twice`); present.add(userId); }
            for (const { userId } of left) { assert.ok(present.delete(userId), `${channel}: ${userId} left twice`); }
        }
        assert.deepEqual([...present].sort(), kept._members.map((one) => one.userId).sort());
        const truth = gateway.truth.get(channel) ?? [];
        const place = new Map(truth.map((message, index) => [message.id, index]));
        // What `echo: false` keeps from this client is not missing.
        const hidden = new Set(truth.map((message, index) => client.sent.some((frame) => frame.type === 'publish' && frame.data === message.data && frame.echo === false) ? index : -1));
        let at = -1;
        let first = true;
        let gap = false;
        for (const one of client.seen) {
            if (one.channel !== channel) { continue; }
            if (one.name === 'gap') { gap = true; }
            if (one.name !== 'message') { continue; }
            const next = place.get(one.value.id);
            assert.notEqual(next, undefined, `${channel}: a message nobody sent`);
            assert.ok(next! > at || channel === 'latest:1', `${channel}: ${next} after ${at}: twice or out of order`);
            const missed = Array.from({ length: Math.max(0, next! - at - 1) }, (_, i) => at + 1 + i).filter((index) => !hidden.has(index));
            // Before the first message there was no subscription; latest values leave out what they replace.
            if (!first && channel !== 'latest:1') { assert.ok(missed.length === 0 || gap, `${channel}: ${missed} missing without a gap`); }
            at = next!;
            first = gap = false;
        }
        assert.equal(truth.at(-1).data, 'last');
        assert.equal(at, truth.length - 1, `${channel}: the last message did not come`);
        const ids = client.of('message', channel).map((message) => message.id);
        if (channel !== 'latest:1') { assert.equal(new Set(ids).size, ids.length, `${channel}: twice`); }
    }
    // Each publish once, however often it was sent; and there, if that was said.
    const all = [...gateway.truth.values()].flat();
    for (const [handle, { value, fault }] of client.settled) {
        const frame = client.sent.find((one: Json) => one.key === `k${handle}`);
        if (!frame) { continue; }
        const found = all.filter((message) => message.id === value?.messageId);
        assert.ok(fault || found.length === 1, 'acknowledged, and not there');
    }
    assert.deepEqual(client.frames('publish').filter((frame) => !client.settled.has(Number(frame.key.slice(1)))), [], 'a publish that nobody answered');
}

test(`${kRuns} runs against a failing gateway`, () => {
    const sum = { messages: 0, gaps: 0, cuts: 0 };
    for (let seed = kFirst; seed < kFirst + kRuns; seed += 1) {
        try {
            const { messages, gaps, cuts } = run(seed);
            sum.messages += messages;
            sum.gaps += gaps;
            sum.cuts += cuts;
        } catch (error) {
            throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
        }
    }
    // A storm that nothing is seen of proves nothing.
    assert.ok(sum.messages > kRuns * 10 && sum.gaps > kRuns / 10 && sum.cuts > kRuns, JSON.stringify(sum));
    console.log(JSON.stringify(sum));
});

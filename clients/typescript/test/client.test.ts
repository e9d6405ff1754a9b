// The client as its users hold it, on virtual time.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createClient, StarlingError, type Channel, type Message } from '../src/index';
import { socketUrl } from '../src/transport';
import { initial, step } from '../src/machine';
import { Do, Ev } from '../src/machine_types';
import { Lab, settle } from './lab';

test('ten lines: who is here, and what they say', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const heard: unknown[] = [];
    doc.subscribe((message) => heard.push(message.data));
    doc.presence.enter({ name: 'Ada' });
    const ready = doc.ready();
    await lab.run(100);
    await ready;
    assert.equal(client.state, 'online');
    assert.equal(lab.frames('subscribe').length, 1);
    assert.deepEqual(doc.presence.members.map((one) => one.data), [{ name: 'Ada' }]);
    assert.equal(doc.presence.self!.userId, 'ada');
    assert.deepEqual(doc.presence.others, []);
    const published = doc.publish({ text: 'hi' });
    await lab.run(100);
    assert.equal((await published).offset, 1);
    assert.deepEqual(heard, [{ text: 'hi' }]);
    const history = doc.history({ limit: 10 });
    await lab.run(100);
    assert.deepEqual((await history).messages.map((message) => message.data), [{ text: 'hi' }]);
    client.close();
});

test('the last to stop lets the channel go, after a moment', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const stops = [doc.subscribe(() => {}), doc.presence.on(() => {}), doc.typing.on(() => {}), doc.latest.on(() => {})];
    await lab.run(100);
    for (const stop of stops) { stop(); stop(); }
    await lab.run(900);
    const again = doc.subscribe(() => {});
    await lab.run(5000);
    assert.equal(lab.frames('unsubscribe').length, 0);
    assert.equal(lab.frames('subscribe').length, 1);
    again();
    await lab.run(1100);
    assert.equal(lab.frames('unsubscribe').length, 1);
    assert.equal(doc.state, 'idle');
    client.close();
});

test('named events reach who asked for them', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const cards: unknown[] = [];
    doc.subscribe('card', (message) => cards.push(message.data));
    await lab.run(100);
    lab.gateway.publish('doc:1', 'other');
    lab.gateway.publish('doc:1', 'mine', undefined, { event: 'card' });
    await lab.run(100);
    assert.deepEqual(cards, ['mine']);
    assert.equal(doc.latest.get()!.data, 'mine');
    client.close();
});

test('a bad listener costs the others nothing', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const heard: unknown[] = [];
    doc.subscribe(() => { throw new Error('mine'); });
    doc.subscribe((message) => heard.push(message.data));
    await lab.run(100);
    lab.gateway.publish('doc:1', 1);
    await assert.rejects(lab.run(100), { message: 'mine' });
    assert.deepEqual(heard, [1]);
    client.close();
});

test('a listener may ask for more while it is told', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    let answered: Promise<unknown> | undefined;
    doc.subscribe((message) => { if (message.data === 'ask') { answered = doc.publish('answer'); } });
    await lab.run(100);
    lab.gateway.publish('doc:1', 'ask');
    await lab.run(100);
    assert.ok(await answered);
    client.close();
});

test('the token is read for each connection, and null is signed out', async () => {
    const lab = new Lab();
    let asked = 0;
    const client = lab.client({ token: async () => `token-${++asked}` });
    client.connect();
    await lab.run(100);
    lab.lose(4002);
    await lab.run(2000);
    assert.deepEqual(lab.frames('connect').map((frame) => frame.token), ['token-1', 'token-2']);
    client.close();
    const out = lab.client({ token: () => null });
    out.connect();
    await lab.run(100);
    assert.equal(out.state, 'closed');
    assert.equal(out.connection.error!.code, 'unauthenticated');
});

test('a token that cannot be had is tried again', async () => {
    const lab = new Lab();
    let asked = 0;
    const client = lab.client({ token: () => { if (++asked < 4) { throw new Error('no network'); } return 't'; } });
    client.connect();
    await lab.run(20_000);
    assert.equal(client.state, 'online');
    assert.equal(asked, 4);
    client.close();
});

test('a token that never comes is given up', async () => {
    const lab = new Lab();
    let asked = 0;
    const client = lab.client({ token: () => { asked += 1; return new Promise(() => {}); } });
    client.connect();
    await lab.run(12_000);
    assert.equal(asked, 2);
    client.close();
});

test('the token is refreshed before it expires', async () => {
    const lab = new Lab();
    lab.gateway.expiresIn = 600_000;
    let asked = 0;
    const client = lab.client({ token: () => `t${++asked}` });
    client.connect();
    await lab.run(545_000);
    assert.deepEqual(lab.frames('refresh').map((frame) => frame.token), ['t2']);
    client.close();
});

test('data is taken as it is, and what is no JSON is told to whoever gave it', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const me = { x: 1 };
    doc.presence.enter(me);
    await lab.run(100);
    me.x = 2;
    doc.presence.update(me);
    await lab.run(100);
    assert.deepEqual(lab.gateway.members('doc:1')[0].data, { x: 2 });
    const circle: { self?: unknown } = {};
    circle.self = circle;
    await assert.rejects(doc.publish(circle), TypeError);
    assert.throws(() => doc.presence.update(circle), TypeError);
    const published = doc.publish(0);
    await lab.run(100);
    assert.equal((await published).offset, 1);
    client.close();
});

test('errors say what, whether again, and where to read on', async () => {
    const lab = new Lab();
    lab.gateway.refuse = (frame) => frame.type === 'publish' ? { code: 'too_large', retryable: false } : undefined;
    const client = lab.client();
    const error = client.channel('doc:1').publish('x').catch((one) => one);
    await lab.run(100);
    const refused = await error as StarlingError;
    assert.ok(refused instanceof StarlingError && refused instanceof Error);
    assert.deepEqual([refused.code, refused.retryable, refused.help], ['too_large', false, '@starling/client/ERRORS.md#too_large']);
    client.close();
    await assert.rejects(client.channel('doc:1').publish('y'), { code: 'closed' });
});

test('every code is explained where the help link leads', () => {
    const text = readFileSync('ERRORS.md', 'utf8');
    const codes = [...readFileSync('../../src/codec/wire_codes.def', 'utf8').matchAll(/^\s*\w+\((\w+)/gm)].map((found) => found[1]);
    assert.ok(codes.length >= 15, codes.join());
    for (const code of [...codes, 'timeout', 'queue_full', 'closed', 'ended', 'unauthenticated']) {
        assert.match(text, new RegExp(`^## ${code}$`, 'm'));
    }
});

test('a refused channel rejects ready', async () => {
    const lab = new Lab();
    lab.gateway.refuse = (frame) => frame.type === 'subscribe' ? { code: 'forbidden', retryable: false } : undefined;
    const client = lab.client();
    const doc = client.channel('doc:1');
    const errors: string[] = [];
    doc.on('error', (error) => errors.push(error.code));
    doc.subscribe(() => {});
    const ready = doc.ready().catch((error) => error.code);
    await lab.run(100);
    assert.equal(await ready, 'forbidden');
    assert.deepEqual(errors, ['forbidden']);
    assert.equal(doc.state, 'failed');
    client.close();
});

test('ready asks for the channel by itself, and lets it go again', async () => {
    const lab = new Lab();
    const client = lab.client();
    const doc = client.channel('doc:1');
    const ready = doc.ready();
    await lab.run(100);
    await ready;
    assert.equal(doc.state, 'live');
    await lab.run(2000);
    assert.equal(doc.state, 'idle');
    client.close();
});

test('an error that nobody listens to is said on the console', async (t) => {
    const lab = new Lab();
    lab.gateway.refuse = (frame) => frame.type === 'subscribe' ? { code: 'forbidden', retryable: false } : undefined;
    const client = lab.client();
    const said = t.mock.method(console, 'error', () => {});
    client.channel('doc:1').subscribe(() => {});
    await lab.run(100);
    client.channel('doc:2').on('error', () => {});
    client.channel('doc:2').subscribe(() => {});
    await lab.run(100);
    assert.deepEqual(said.mock.calls.map((call) => (call.arguments[0] as StarlingError).channel), ['doc:1']);
    client.close();
});

test('close leaves no timer and no connection', async () => {
    const lab = new Lab();
    const client = lab.client();
    client.channel('doc:1').subscribe(() => {})();
    client.channel('doc:2').presence.enter();
    await lab.run(100);
    client.close();
    await lab.run(100);
    assert.equal(lab.timers, 0);
    assert.equal(lab.gateway.connections.size, 0);
    assert.equal(client.state, 'closed');
});

test('without a WebSocket it says what to do', async () => {
    const client = createClient({ url: 'ws://127.0.0.1:1', WebSocket: null });
    const states: string[] = [];
    client.on('state', (view) => states.push(view.state));
    client.connect();
    await settle();
    assert.equal(client.state, 'closed');
    assert.match(client.connection.error!.message, /pass one/);
});

test('addresses', () => {
    assert.equal(socketUrl('https://host'), 'wss://host/v1/ws');
    assert.equal(socketUrl('http://host:8000/'), 'ws://host:8000/v1/ws');
    assert.equal(socketUrl('https://host?app=board'), 'wss://host/v1/ws?app=board');
});

test('notifications', async () => {
    const lab = new Lab();
    lab.gateway.notify('one');
    const client = lab.client();
    let changes = 0;
    client.notifications.on(() => { changes += 1; });
    await lab.run(100);
    lab.gateway.notify('two');
    await lab.run(100);
    assert.equal(client.notifications.unread, 2);
    const done = client.notifications.acknowledge();
    assert.equal(client.notifications.unread, 0);
    await lab.run(100);
    await done;
    assert.equal(lab.gateway.acked, 2);
    assert.equal(changes, 3);
    assert.equal(client.notifications.isRead(client.notifications.list[0]!), true);
    client.close();
});

test('the clock set back stops nothing', async () => {
    const lab = new Lab();
    const client = lab.client();
    client.channel('doc:1').subscribe(() => {});
    await lab.run(100);
    const wall = lab.time.now;
    let shift = 0;
    const other = lab.client({ clock: { now: () => lab.time.now - shift, setTimeout: (run, ms) => lab.time.at(ms, run), clearTimeout: (timer) => lab.time.cancel(timer) } });
    other.connect();
    await lab.run(100);
    shift = 3_600_000;
    lab.cables.at(-1)!.lose();
    await lab.run(3000);
    assert.equal(other.state, 'online');
    assert.ok(lab.time.now > wall);
    client.close();
    other.close();
});

// One truth for the wire: tests/vectors is read by the gateway's tests too.
const vectors = JSON.parse(readFileSync('../../tests/vectors/native.json', 'utf8')) as {
    client: { name: string; text: string; command?: { type: string } }[]; server: { name: string; text: string }[];
};

test('every frame of the server is understood', () => {
    for (const { name, text } of vectors.server) {
        let state = initial({ _fresh: false, _queue: 10, _publishTimeout: 1, _lostAfter: 1, _linger: 1, _random: 0 });
        const connected = JSON.parse(vectors.server.find((one) => one.name === 'connected')!.text);
        for (const event of [
            { _t: Ev.Retain, _channel: 'c', _by: 1 }, { _t: Ev.Tick }, { _t: Ev.Opened, _link: 1, _auth: {} }, { _t: Ev.Frame, _link: 1, _frame: connected },
            { _t: Ev.Frame, _link: 1, _frame: { type: 'subscribed', channel: 'c', id: 3, position: { epoch: 'e', offset: 6, id: 'l' } } },
        ] as const) { [state] = step(state, event, 1); }
        assert.equal(state._channels.get('c')!._status, 'live');
        const [, commands] = step(state, { _t: Ev.Frame, _link: 1, _frame: JSON.parse(text) }, 2);
        const heard = commands.map((one) => one[0] === Do.Emit ? one[2] : '');
        const wanted: Record<string, string> = {
            'message': 'message', 'presence.join': 'presence', 'presence.diff': 'presence', 'presence.count': 'presence', 'presence': 'presence',
            'typing.start': 'typing', 'notification': 'notification', 'notifications': 'notifications', 'direct': 'direct', 'unsubscribed': 'error',
            'error': 'error',
        };
        if (wanted[name]) { assert.ok(heard.includes(wanted[name]!), `${name}: ${heard}`); }
    }
});

test('every frame of the client has only fields that the gateway knows', async () => {
    const known = new Map<string, Set<string>>();
    for (const { text, command } of vectors.client) {
        if (!command) { continue; }
        const frame = JSON.parse(text);
        known.set(frame.type, new Set([...known.get(frame.type) ?? [], ...Object.keys(frame)]));
    }
    const lab = new Lab();
    const client = lab.client({ token: () => 't' });
    lab.gateway.expiresIn = 600_000;
    const doc = client.channel('doc:1', { watch: 'count' });
    doc.presence.enter(1);
    doc.subscribe(() => {});
    await lab.run(100);
    doc.presence.update(2);
    doc.typing.keystroke();
    doc.typing.stop();
    lab.gateway.notify('n');
    const answers = [doc.publish(1, { event: 'e', conflateKey: 'k', echo: false }), doc.history({ limit: 1, reverse: true }), doc.presence.get()];
    await lab.run(100);
    await Promise.all([...answers]);
    const read = client.notifications.acknowledge();
    await lab.run(100);
    await read;
    doc.unsubscribe();
    await lab.run(100);
    doc.subscribe(() => {});
    await lab.run(600_000);
    lab.lose();
    await lab.run(2000);
    const types = new Set(lab.sent.map((frame) => frame.type));
    assert.deepEqual([...known.keys()].filter((type) => !types.has(type)), []);
    for (const frame of lab.sent) {
        for (const field of Object.keys(frame)) {
            assert.ok(known.get(frame.type)!.has(field) || (frame.type === 'subscribe' && field === 'token'), `${frame.type}.${field}`);
        }
    }
    client.close();
});

// Types: what is written here is checked by tsc and costs nothing when run.
test('a map of channel patterns types channels', () => {
    interface Map { 'doc:*': { message: { text: string }; presence: { name: string } }; 'board': { events: { move: { x: number }; drop: { id: string } } }; 'price:*': { message: number } }
    const client = createClient<Map>({ url: 'ws://127.0.0.1:1' });
    const doc = client.channel('doc:7');
    const board = client.channel('board');
    const types = (): void => {
        doc.subscribe((message) => message.data.text.toUpperCase());
        doc.presence.enter({ name: 'Ada' });
        doc.presence.members[0]!.data.name.trim();
        void doc.publish({ text: 'x' });
        board.subscribe('move', (message) => message.data.x.toFixed());
        board.subscribe((message) => { if (message.event === 'drop') { message.data.id.trim(); } else { message.data.x.toFixed(); } });
        void board.publish({ x: 1 }, { event: 'move' });
        client.channel('price:eur').latest.get()!.data.toFixed();
        doc.subscribe((message) => {
            // @ts-expect-error no such field
            message.data.nothing;
        });
        // @ts-expect-error a number is no document
        void doc.publish(1);
        // @ts-expect-error `drop` carries an id
        void board.publish({ x: 1 }, { event: 'drop' });
        // @ts-expect-error presence has a name
        doc.presence.enter({ color: 'red' });
        const free: Channel = createClient({ url: '' }).channel('any');
        free.subscribe((message: Message) => message.data.whatever);
    };
    assert.equal(typeof types, 'function');
});

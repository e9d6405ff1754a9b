// The command line, as an operator uses it.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { alone, assert, binary, eventually, everything, jwt, main, namespace, secret, Server, soon, toml, within } from './harness.mjs';

const folder = mkdtempSync(join(tmpdir(), 'starling-cli-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function file(name, text) {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
}

function start(words) {
    const child = spawn(binary, words, { env: { PATH: process.env.PATH, HOME: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
    const result = { child, out: '', err: '' };
    child.stdout.on('data', (piece) => (result.out += piece));
    child.stderr.on('data', (piece) => (result.err += piece));
    result.ended = new Promise((done) => child.on('close', (code, signal) => done({ code, signal, out: result.out, err: result.err })));
    return result;
}

async function starling(...words) {
    const running = start(words);
    try {
        return await within(10000, `${words.join(' ')} goes on`, running.ended);
    } finally {
        running.child.kill('SIGKILL');
    }
}

const good = toml(namespace('', [everything]));

alone('config check accepts a good file', async () => {
    const end = await starling('config', 'check', file('good.toml', good));
    assert.equal(end.code, 0, end.err + end.out);
});

alone('config check suggests the nearest key for an unknown one', async () => {
    for (const [text, wrong, right] of [
        ['[presence]\nlinger = 5\n', 'linger', 'linger_ms'],
        ['[limits]\nframe_byte = 5\n', 'frame_byte', 'frame_bytes'],
        ['[servr]\nlisten = "x"\n', 'servr', 'server'],
    ]) {
        const end = await starling('config', 'check', file('bad.toml', text + good));
        assert.notEqual(end.code, 0);
        const said = end.out + end.err;
        assert.ok(said.includes(wrong) && said.includes(right), said);
    }
});

alone('config check refuses a wrong type, two apps of one name and broken TOML', async () => {
    for (const text of ['[presence]\nlinger_ms = "x"\n' + good, good + good, 'a = [', '[server]\nshards = -1\n' + good]) {
        const end = await starling('config', 'check', file('bad.toml', text));
        assert.notEqual(end.code, 0, text.slice(0, 40));
        assert.notEqual(end.err + end.out, '');
    }
    assert.notEqual((await starling('config', 'check', join(folder, 'none.toml'))).code, 0);
});

alone('serve refuses an unknown key too', async () => {
    const end = await starling('serve', '--config', file('bad.toml', '[presence]\nlinger = 5\n' + good));
    assert.notEqual(end.code, 0);
    assert.match(end.err + end.out, /linger_ms/);
});

alone('config print is effective and hides secrets', async () => {
    const end = await starling('config', 'print', '--config', file('good.toml', '[presence]\nlinger_ms = 4321\n' + good));
    assert.equal(end.code, 0, end.err);
    assert.match(end.out, /linger_ms\s*=\s*4321/);
    assert.match(end.out, /list_limit\s*=\s*1000/);
    for (const hidden of [secret, 'app-secret-that-is-not-short', '"dev"']) assert.ok(!end.out.includes(hidden), `${hidden} is shown`);
});

alone('config default is a file that config check accepts', async () => {
    const end = await starling('config', 'default');
    assert.equal(end.code, 0, end.err);
    for (const key of ['linger_ms', 'list_limit', 'heartbeat_ms', 'refresh_grace_ms', 'queue_bytes']) assert.ok(end.out.includes(key), key);
    const check = await starling('config', 'check', file('default.toml', end.out));
    assert.equal(check.code, 0, check.err + check.out);
});

const tokenOf = (text) => text.match(/[\w-]+\.[\w-]+\.[\w-]+/)?.[0];

alone('token mint makes a token that the key signs, and inspect reads it', async () => {
    const config = file('good.toml', good);
    const end = await starling('token', 'mint', '--config', config, '--sub', 'alice', '--can', 'doc:*=subscribe,presence', '--ttl', '1h');
    assert.equal(end.code, 0, end.err);
    const token = tokenOf(end.out);
    const [head, body, sign] = token.split('.');
    assert.equal(createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url'), sign);
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    assert.equal(claims.sub, 'alice');
    assert.deepEqual(claims.can, { 'doc:*': ['subscribe', 'presence'] });
    assert.ok(Math.abs(claims.exp - soon(3600)) < 10);
    const seen = await starling('token', 'inspect', '--config', config, token);
    assert.equal(seen.code, 0, seen.err);
    assert.match(seen.out, /alice/);
    assert.match(seen.out, /doc:\*/);
    const expired = await starling('token', 'inspect', '--config', config, jwt({ sub: 'alice', exp: soon(-60) }));
    assert.match(expired.out + expired.err, /expired/i);
    assert.notEqual((await starling('token', 'inspect', '--config', config, 'rubbish')).code, 0);
});

alone('a minted token connects', async () => {
    const server = await Server.start([], { config: good });
    try {
        const end = await starling('token', 'mint', '--config', server.file, '--sub', 'bob', '--ttl', '60s');
        const client = await server.connect({ token: tokenOf(end.out) });
        assert.equal(client.hello.userId, 'bob');
    } finally {
        await server.stop();
    }
});

alone('publish publishes, and tail shows it', async () => {
    const server = await Server.start([], { config: good });
    let tail;
    try {
        const config = file('here.toml', `[server]\nlisten = "${server.address}"\n${good}`);
        const alice = await server.connect({ token: jwt({ sub: 'alice' }) });
        await alice.subscribe('news');
        tail = start(['tail', 'news', '--config', config]);
        const channels = async () => (await server.get('/v1/channels?prefix=news')).json.channels[0]?.subscribers === 2;
        await eventually(channels, 3000, 'tail is subscribed');
        const end = await starling('publish', 'news', '{"hello":"world"}', '--config', config);
        assert.equal(end.code, 0, end.err);
        assert.deepEqual((await alice.waitFor('message')).data, { hello: 'world' });
        await eventually(() => tail.out.includes('hello'), 5000, 'tail shows the message');
        const bad = await starling('publish', 'news', '{broken', '--config', config);
        assert.notEqual(bad.code, 0);
        assert.notEqual(bad.err + bad.out, '');
    } finally {
        tail?.child.kill('SIGKILL');
        await server.stop();
    }
});

alone('version says one', async () => {
    const end = await starling('version');
    assert.equal(end.code, 0);
    assert.match(end.out, /\d+\.\d+\.\d+/);
});

alone('doctor prints a line for each check', async () => {
    const end = await starling('doctor', '--config', file('doctor.toml', `[server]\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n${good}`));
    assert.ok(end.code === 0 || end.code === 1, `ended with ${end.code}`);
    const lines = end.out.split('\n').filter(Boolean);
    assert.ok(lines.length >= 3, end.out);
    assert.match(end.out, /descriptor|open files/i);
    assert.match(end.out, /clock/i);
});

alone('doctor says whether others can read the file that holds the keys', async () => {
    const path = file('open.toml', `[server]\nlisten = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\n${good}`);
    chmodSync(path, 0o644);
    assert.match((await starling('doctor', '--config', path)).out, /open\.toml: readable by everybody/);
    chmodSync(path, 0o600);
    assert.match((await starling('doctor', '--config', path)).out, /open\.toml: not readable by others/);
});

alone('an unknown command or flag is refused with a hint', async () => {
    for (const words of [['dance'], ['serve', '--dance=1'], ['publish'], ['token', 'mint']]) {
        const end = await starling(...words);
        assert.notEqual(end.code, 0, words.join(' '));
        assert.notEqual(end.err + end.out, '');
    }
});

await main();

#!/usr/bin/env node
// Tokens and permissions against the real gateway: the cases T1 to T18 and A1 to A9 of the security
// tests. Tokens are made here, so that they can be made wrong. Last line: `N passed, N failed`.
// usage: token_security.mjs --binary PATH

import { spawn } from 'node:child_process';
import { createHmac, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client } from './ws_client.mjs';

const { values: options } = parseArgs({ options: { binary: { type: 'string' }, help: { type: 'boolean' } } });
if (options.help || !options.binary) {
  console.log('usage: token_security.mjs --binary PATH');
  process.exit(options.help ? 0 : 2);
}

// ---- tokens ----
const secret = '0123456789abcdef0123456789abcdef';
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const hs256 = (text, key = secret) => createHmac('sha256', key).update(text).digest('base64url');
const raw = (header, payload, key) => { const text = `${b64(header)}.${b64(payload)}`; return `${text}.${hs256(text, key)}`; };
const token = (claims, header = {}, key = secret) => raw({ alg: 'HS256', typ: 'JWT', ...header }, claims, key);
const seconds = () => Math.floor(Date.now() / 1000);

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const edByKid = generateKeyPairSync('ed25519');
const edOfIssuer = generateKeyPairSync('ed25519');
const pem = (pair) => pair.publicKey.export({ type: 'spki', format: 'pem' });
function signed(alg, pair, claims, header = {}) {
  const text = `${b64({ alg, ...header })}.${b64(claims)}`;
  const digest = alg === 'EdDSA' ? null : 'sha256';
  const key = alg === 'ES256' ? { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } : pair.privateKey;
  return `${text}.${signWith(digest, Buffer.from(text), key).toString('base64url')}`;
}

// ---- the gateway ----
const folder = mkdtempSync(join(tmpdir(), 'starling-security-'));
const port = await new Promise((resolve) => {
  const probe = net.createServer().listen(0, '127.0.0.1', () => { const { port: free } = probe.address(); probe.close(() => resolve(free)); });
});
writeFileSync(join(folder, 'keys.json'), JSON.stringify({ keys: [{ ...edByKid.publicKey.export({ format: 'jwk' }), kid: 'known', use: 'sig' }] }));
writeFileSync(join(folder, 'issuer.json'), JSON.stringify({ keys: [{ ...edOfIssuer.publicKey.export({ format: 'jwk' }), kid: 'known', use: 'sig' }] }));
const all = '["subscribe", "publish", "presence", "typing", "history"]';
writeFileSync(join(folder, 'starling.toml'), `
[server]
listen = "127.0.0.1:${port}"
admin = "127.0.0.1:0"
shards = 1
[auth]
refresh_grace_ms = 500
[limits]
frames_per_second = 5000
frames_burst = 10000
[[apps]]
id = "default"
api_keys = ["backend-key-of-the-default-app"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "${secret}"
  [[apps.token_keys]]
  algorithm = "RS256"
  public_key = """${pem(rsa)}"""
  [[apps.token_keys]]
  algorithm = "ES256"
  public_key = """${pem(ec)}"""
  [[apps.token_keys]]
  algorithm = "EdDSA"
  public_key = """${pem(ed)}"""
  [[apps.token_keys]]
  algorithm = "EdDSA"
  jwks = "${join(folder, 'keys.json')}"
  [[apps.namespaces]]
  name = ""
  allow = []
  [[apps.namespaces]]
  name = "open"
  allow = ${all}
  history = { size = 10, ttl_s = 60 }
[[apps]]
id = "strict"
api_keys = ["backend-key-of-the-strict-app"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "strict-strict-strict-strict-strict"
  audience = "us"
  issuer = "them"
  require_exp = true
[[apps]]
id = "issuer"
api_keys = ["backend-key-of-the-issuer-app"]
  [[apps.token_keys]]
  algorithm = "EdDSA"
  jwks = "${join(folder, 'issuer.json')}"
`, { mode: 0o600 });
const gateway = spawn(options.binary, ['serve', '--config', join(folder, 'starling.toml')], { stdio: ['ignore', 'pipe', 'pipe'] });
let log = '';
let exited = false;
gateway.stdout.on('data', (data) => { log += data; });
gateway.stderr.on('data', (data) => { log += data; });
gateway.on('exit', () => { exited = true; });

// ---- cases ----
let passed = 0;
let failed = 0;
function check(name, got, wanted) {
  if (got === wanted) { passed += 1; return; }
  failed += 1;
  console.log(`FAIL ${name}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
}
const open = (path = '/v1/ws', headers = {}) => Client.open(port, path, headers);
async function joinAs(claims, path) {
  const client = await open(path);
  const reply = await client.ask({ type: 'connect', token: typeof claims === 'string' ? claims : token(claims) });
  if (reply?.type !== 'connected') throw new Error(`not connected: ${JSON.stringify(reply)}`);
  return client;
}
// 'connected', or the error's code and how the connection ended.
async function outcome(someToken, path = '/v1/ws') {
  const client = await open(path);
  const reply = await client.ask({ type: 'connect', token: someToken });
  const result = reply?.type === 'error' ? `${reply.code} ${await client.closed()}` : reply?.type;
  client.close();
  return result;
}
const code = (reply) => (reply?.type === 'error' ? reply.code : reply?.type);
const no = 'unauthenticated 4001';

async function headersAndSignatures() {
  const ada = { sub: 'ada' };
  check('a good token', await outcome(token(ada)), 'connected');
  for (const alg of ['none', 'None', 'nOnE']) {
    check(`T1 ${alg}, no signature`, await outcome(`${b64({ alg })}.${b64(ada)}.`), no);
    check(`T1 ${alg}, signed`, await outcome(raw({ alg }, ada)), no);
  }
  check('T1 HS256, empty signature', await outcome(`${b64({ alg: 'HS256' })}.${b64(ada)}.`), no);
  check('T2 public key as secret', await outcome(token(ada, {}, pem(rsa))), no);
  check('T3 alg of no key', await outcome(raw({ alg: 'HS512' }, ada)), no);
  check('RS256', await outcome(signed('RS256', rsa, ada)), 'connected');
  check('ES256', await outcome(signed('ES256', ec, ada)), 'connected');
  check('EdDSA', await outcome(signed('EdDSA', ed, ada)), 'connected');
  check('EdDSA out of the JWKS', await outcome(signed('EdDSA', edByKid, ada, { kid: 'known' })), 'connected');
  check('T3 RS256 key under PS256', await outcome(signed('RS256', rsa, ada).replace(/^[^.]+/, b64({ alg: 'PS256' }))), no);
  const jwk = ed.publicKey.export({ format: 'jwk' });
  for (const extra of [{ jwk }, { jku: 'http://127.0.0.1/keys' }, { x5u: 'http://127.0.0.1/cert' }, { crit: ['exp'] }]) {
    check(`T4 ${Object.keys(extra)[0]}`, await outcome(token(ada, extra)), no);
  }
  for (const kid of ['../../dev/null', "' OR 1=1 --", 'k'.repeat(8192), '\0', 'unknown']) {
    check(`T5 kid ${JSON.stringify(kid.slice(0, 12))}`, await outcome(signed('EdDSA', edByKid, ada, { kid })), no);
  }
  const good = token(ada);
  for (const [name, bad] of [['padding', `${good}=`], ['space', `${good} `], ['newline', `${good}\n`], ['a fourth part', `${good}.`],
    ['trailing bits', good.slice(0, -1) + String.fromCharCode(good.charCodeAt(good.length - 1) + 1)]]) {
    check(`T10 ${name}`, await outcome(bad), no);
  }
  const es = signed('ES256', ec, ada).split('.');
  for (const [name, bytes] of [['zero', Buffer.alloc(64)], ['short', Buffer.alloc(63, 1)], ['long', Buffer.alloc(65, 1)], ['huge', Buffer.alloc(64, 255)]]) {
    check(`T11 r and s ${name}`, await outcome(`${es[0]}.${es[1]}.${bytes.toString('base64url')}`), no);
  }
  check('T12 64 KB', await outcome('A'.repeat(65536)), no);
  check('T12 64 KB with dots', await outcome(`${'A'.repeat(30000)}.${'A'.repeat(30000)}.${'A'.repeat(5534)}`), no);
  check('J2 a claim twice', await outcome(raw({ alg: 'HS256' }, '{"sub":"ada","sub":"eve"}')), no);
  check('not a string', code(await (await open()).ask({ type: 'connect', token: 7 })), 'bad_request');
}

async function claims() {
  const now = seconds();
  const sub = 'ada';
  // 4002 tells a client to come back with a new token, 4001 that this one was refused: both are true.
  check('T8 expired', /^token_expired 400[12]$/.test(await outcome(token({ sub, exp: now - 1 }))), true);
  check('T8 a float', await outcome(token({ sub, exp: now + 60.5 })), 'connected');
  for (const exp of [`"${now + 60}"`, '-1', '1e300', 'null', '[]']) {
    check(`T8 exp ${exp}`, await outcome(raw({ alg: 'HS256' }, `{"sub":"ada","exp":${exp}}`)), no);
  }
  check('T8 nbf ahead', await outcome(token({ sub, nbf: now + 60 })), no);
  check('T8 iat ahead', await outcome(token({ sub, iat: now + 60 })), no);
  check('T8 leeway', await outcome(token({ sub, nbf: now + 2, iat: now + 2 })), 'connected');
  const strict = (claim) => outcome(token(claim, {}, 'strict-strict-strict-strict-strict'), '/v1/ws?app=strict');
  const good = { sub, aud: 'us', iss: 'them', exp: now + 60 };
  check('T9 all as configured', await strict(good), 'connected');
  check('T9 aud in an array', await strict({ ...good, aud: ['x', 'us'] }), 'connected');
  check('T9 other aud', await strict({ ...good, aud: 'them' }), no);
  check('T9 no aud', await strict({ ...good, aud: undefined }), no);
  check('T9 other iss', await strict({ ...good, iss: 'us' }), no);
  check('T8 exp required', await strict({ ...good, exp: undefined }), no);
  check('A9 a key of another app', await outcome(token(good), '/v1/ws?app=strict'), no);
  for (const [name, bad] of [['none', {}], ['empty', { sub: '' }], ['a number', { sub: 7 }], ['control', { sub: 'a\nb' }], ['long', { sub: 'a'.repeat(256) }]]) {
    check(`sub ${name}`, await outcome(token(bad)), no);
  }
  check('info past its limit', await outcome(token({ sub, info: 'x'.repeat(4095) })), no);
  const noToken = await open();
  check('A5 a name on trust', code(await noToken.ask({ type: 'connect', user: 'eve' })), 'unauthenticated');
  check('A5 and closed', await noToken.closed(), 4001);
}

async function channelTokensAndRefresh() {
  const now = seconds();
  const channelToken = (claims) => token({ sub: 'ada', channel: 'doc:1', exp: now + 60, can: ['subscribe'], ...claims });
  check('a channel token is no connection token', await outcome(channelToken({})), no);
  const client = await joinAs({ sub: 'ada' });
  check('without a right', code(await client.ask({ type: 'subscribe', channel: 'doc:1' })), 'forbidden');
  for (const [name, bad] of [['T16 other channel', channelToken({ channel: 'doc:2' })], ['T16 other user', channelToken({ sub: 'eve' })],
    ['expired', channelToken({ exp: now - 1 })], ['nonsense', 'nonsense'], ['a connection token', token({ sub: 'ada', can: { 'doc:1': ['subscribe'] } })]]) {
    const reply = await client.ask({ type: 'subscribe', channel: 'doc:1', token: bad });
    check(name, reply?.type, 'error');
  }
  check('with its token', code(await client.ask({ type: 'subscribe', channel: 'doc:1', token: channelToken({}) })), 'subscribed');
  check('A4 and nothing else', code(await client.ask({ type: 'publish', channel: 'doc:1', data: 1 })), 'forbidden');
  check('still alive', code(await client.ask({ type: 'ping' })), 'pong');
  check('a refused refresh changes nothing', code(await client.ask({ type: 'refresh', token: 'nonsense' })), 'unauthenticated');
  check('and the connection goes on', code(await client.ask({ type: 'ping' })), 'pong');
  client.send({ type: 'refresh', token: token({ sub: 'eve' }) });
  check('T15 refresh as another user', await client.closed(), 4001);

  const losing = await joinAs({ sub: 'ada', can: { 'doc:*': ['subscribe', 'publish'] } });
  check('A7 subscribed', code(await losing.ask({ type: 'subscribe', channel: 'doc:7' })), 'subscribed');
  check('A7 refreshed', code(await losing.ask({ type: 'refresh', token: token({ sub: 'ada' }) })), 'refreshed');
  const end = await losing.next((frame) => frame.type === 'unsubscribed' && frame.channel === 'doc:7');
  check('A7 the subscription ends', end?.code, 'forbidden');
  const writer = await joinAs({ sub: 'bob', can: { 'doc:*': ['subscribe', 'publish'] } });
  check('A7 another publishes', code(await writer.ask({ type: 'publish', channel: 'doc:7', data: 'secret' })), 'published');
  await losing.ask({ type: 'ping' });
  check('A7 nothing is received', losing.frames.some((frame) => frame.type === 'message'), false);

  const short = await joinAs({ sub: 'ada', exp: now + 2 });
  check('T14 lives to exp and the grace', await short.closed(6000), 4002);
  const kept = await joinAs({ sub: 'ada', exp: seconds() + 2 });
  check('T14 refreshed', code(await kept.ask({ type: 'refresh', token: token({ sub: 'ada', exp: seconds() + 60 }) })), 'refreshed');
  await kept.closed(3500);
  check('T14 and lives on', code(await kept.ask({ type: 'ping' })), 'pong');
  for (const one of [losing, writer, kept]) one.close();
}

async function permissions() {
  const can = { 'doc:1': ['subscribe'], 'a*b': ['subscribe'], 'é:x': ['subscribe'], '*': [] };
  const ada = await joinAs({ sub: 'ada', can });
  const subscribe = async (channel, more = {}) => code(await ada.ask({ type: 'subscribe', channel, ...more }));
  for (const channel of ['@ada', '$system', '', 'a\u0000b', 'a\nb', '\u007f', 'x'.repeat(256)]) {
    const reply = await subscribe(channel);
    check(`A1/A3 ${JSON.stringify(channel.slice(0, 8))}`, ['bad_request', 'too_large', 'limit_exceeded'].includes(reply), true);
  }
  for (const channel of ['private-x', 'presence-x', 'private-encrypted-x', 'other', 'doc:2', 'doc:*', 'doc:', 'doc', 'doc:11', '*', '>', '+', '#',
    'axb', 'ab', ':open', ':x', 'Open:x', 'оpen:x', 'open', ' open:x', 'e\u0301:x', 'open\u200b:x', '__proto__', 'constructor']) {
    check(`A1/A2/A3 ${JSON.stringify(channel)}`, await subscribe(channel), 'forbidden');
  }
  for (const channel of ['doc:1', 'a*b', 'é:x', 'open:x', 'open:ns2:x', 'open::', 'open:__proto__']) {
    check(`allowed ${JSON.stringify(channel)}`, await subscribe(channel), 'subscribed');
  }
  check('A4 publish', code(await ada.ask({ type: 'publish', channel: 'doc:1', data: 1 })), 'forbidden');
  check('A4 typing', code(await ada.ask({ type: 'typing', channel: 'doc:1' })), 'forbidden');
  check('A4 presence', code(await ada.ask({ type: 'presence.get', channel: 'doc:1' })), 'forbidden');
  check('A4 history', code(await ada.ask({ type: 'history.get', channel: 'doc:1' })), 'forbidden');
  await ada.ask({ type: 'unsubscribe', channel: 'doc:1' });
  for (const more of [{ presence: true }, { presence: { name: 'x' } }, { watch: 'members' }, { watch: 'count' }, { recover: { epoch: 'e', offset: 0, id: '' } }]) {
    check(`A4 ${JSON.stringify(more)}`, await subscribe('doc:1', more), 'forbidden');
  }
  const star = await joinAs({ sub: 'eve', can: { '*': ['subscribe', 'publish', 'presence', 'typing', 'history'] }, channels: ['#server-to-user-ada'] });
  check('A1 # never', code(await star.ask({ type: 'subscribe', channel: '#server-to-user-ada' })), 'forbidden');
  check('A1 private by can', code(await star.ask({ type: 'subscribe', channel: 'private-x' })), 'subscribed');
  check('the channels claim cannot either', (await star.next((frame) => frame.channel === '#server-to-user-ada'))?.type, 'error');

  const bob = await joinAs({ sub: 'bob' });
  await bob.ask({ type: 'subscribe', channel: 'open:x', presence: { name: 'Bob' }, user: 'ada', userId: 'ada' });
  await bob.ask({ type: 'publish', channel: 'open:x', data: 1, userId: 'ada', user: 'ada' });
  await bob.ask({ type: 'typing', channel: 'open:x', userId: 'ada' });
  check('A5 message', (await ada.next((frame) => frame.type === 'message'))?.userId, 'bob');
  check('A5 presence', (await ada.next((frame) => frame.type === 'presence.join'))?.userId, 'bob');
  check('A5 typing', (await ada.next((frame) => frame.type === 'typing.start'))?.userId, 'bob');
  for (const type of ['presence.join', 'presence.leave', 'message', 'typing.start', 'direct', 'connected', 'reconnect']) {
    check(`A6 ${type}`, code(await star.ask({ type, channel: 'open:x', userId: 'ada', data: 1 })), 'bad_request');
  }
  const named = await open();
  check('A5 the token names the user', (await named.ask({ type: 'connect', token: token({ sub: 'ada' }), user: 'root' }))?.userId, 'ada');
  for (const one of [ada, star, bob, named]) one.close();
}

// The same kid in the key sets of two apps names two keys, and a disconnect beats every refresh on its way.
async function issuersAndRevocation() {
  const ada = { sub: 'ada' };
  const other = (pair) => signed('EdDSA', pair, ada, { kid: 'known' });
  check('T6 the kid of its own app', await outcome(other(edByKid)), 'connected');
  check('T6 the kid of another issuer, by its key', await outcome(other(edOfIssuer), '/v1/ws?app=issuer'), 'connected');
  check('T6 a key of the other app', await outcome(other(edOfIssuer)), no);
  check('T6 and the other way round', await outcome(other(edByKid), '/v1/ws?app=issuer'), no);
  for (let round = 0; round < 10; round += 1) {
    const client = await joinAs(ada);
    for (let i = 0; i < 20; i += 1) client.send({ type: 'refresh', token: token({ sub: 'ada', exp: seconds() + 60 }) });
    const answer = fetch(`http://127.0.0.1:${port}/v1/users/ada/disconnect`, { method: 'POST', body: '{}', headers: { Authorization: 'Bearer backend-key-of-the-default-app' } });
    for (let i = 0; i < 20; i += 1) client.send({ type: 'refresh', token: token({ sub: 'ada', exp: seconds() + 60 }) });
    check('T17 a disconnect is answered', (await answer).status, 200);
    check('T17 and wins over refreshes', await client.closed(), 4005);
  }
}

async function upgradeTokens() {
  const claims = { sub: 'ada', note: 'a-token-in-a-query-string' };
  const good = token(claims);
  const byQuery = await open(`/v1/ws?token=${good}`);
  check('T18 connected by the query', (await byQuery.next((frame) => frame.type === 'connected'))?.userId, 'ada');
  const byHeader = await open('/v1/ws', { Authorization: `bearer ${good}` });
  check('connected by the header', (await byHeader.next((frame) => frame.type === 'connected'))?.userId, 'ada');
  const refused = await open(`/v1/ws?token=${good}x`);
  check('refused after the upgrade', refused.status, 101);
  check('told why', (await refused.next((frame) => frame.type === 'error'))?.code, 'unauthenticated');
  check('and closed', await refused.closed(), 4001);
  const huge = await open(`/v1/ws?token=${'A'.repeat(65536)}`);
  check('T12 64 KB in the query', huge.status === undefined || huge.status >= 400 || (await huge.closed()) === 4001, true);
  const unknown = await open('/v1/ws?app=nobody');
  check('an unknown app', unknown.status, 404);
  check('T18 no token in the log', log.includes(good) || log.includes(good.split('.')[1]) || log.includes(good.split('.')[2]), false);
  for (const one of [byQuery, byHeader, refused, huge, unknown]) one.close();
}

const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))[1]);
const descriptors = () => readdirSync(`/proc/${gateway.pid}/fd`).length;

async function flood() {
  const healthy = await joinAs({ sub: 'ada' });
  for (let i = 0; i < 50; i += 1) await outcome(signed('EdDSA', edByKid, { sub: 'ada' }, { kid: `warm-${i}` }));
  const before = { memory: rss(), files: descriptors() };
  const times = [];
  let running = true;
  const probe = (async () => {
    while (running) {
      const begin = performance.now();
      await healthy.ask({ type: 'ping' });
      times.push(performance.now() - begin);
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    }
  })();
  const refusedOnes = await Promise.all(Array.from({ length: 500 }, (_, i) => outcome(signed('EdDSA', edByKid, { sub: 'ada' }, { kid: `k${i}` }))));
  running = false;
  await probe;
  check('T13 500 distinct kids, each refused', refusedOnes.every((one) => one === no), true);
  await new Promise((resolve) => { setTimeout(resolve, 500); });
  check('memory is back within 5 MB', rss() - before.memory < 5 * 1024, true);
  check('no descriptor is left', descriptors() <= before.files, true);
  times.sort((a, b) => a - b);
  console.log(`# a healthy connection beside 500 refused ones: p99 ${times[Math.floor(times.length * 0.99)].toFixed(1)} ms, seen from the flooding process`);
  healthy.close();
}

let problem;
try {
  for (let i = 0; i < 100 && !exited; i += 1) {
    try { if ((await fetch(`http://127.0.0.1:${port}/health/ready`)).ok) break; } catch { /* not there yet */ }
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  if (exited) throw new Error('the gateway did not start');
  for (const part of [headersAndSignatures, claims, channelTokensAndRefresh, permissions, issuersAndRevocation, upgradeTokens, flood]) {
    try { await part(); } catch (error) { check(`${part.name} to its end`, String(error), 'no exception'); }
  }
  check('the gateway lives', exited, false);
} catch (error) {
  problem = error;
} finally {
  gateway.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
if (failed > 0 || problem) console.log(log.slice(-2000));
if (problem) { console.log(problem); failed += 1; }
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);

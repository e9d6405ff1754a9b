// Runs each folder of examples/ as a user would see it, and the short form of polling against push.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { Count, expect, start, start_gateway, until } from './gateway.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const { values: options } = parseArgs({ options: {
    binary: { type: 'string', default: join(root, 'build/release/starling') },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
} });
const WebSocket = createRequire(join(root, 'tests/protocol/run.mjs'))('ws');

// The React example as its README says, step by step; the client is built for it.
const sdk = join(root, 'clients/typescript');
const react = join(root, 'examples/react');
const npm = (cwd, ...words) => promisify(execFile)('npm', [...words, '--silent', '--no-audit', '--no-fund'], { cwd, timeout: 300_000 });
if (!existsSync(join(sdk, 'node_modules/esbuild'))) { await npm(sdk, 'ci'); }
await npm(sdk, 'run', 'build');
rmSync(join(react, 'node_modules'), { recursive: true, force: true });     // Or the client of another day would stay.
await npm(react, 'install');
await npm(react, 'run', 'build');

const kPages = {
    '/html/': ['text/html', join(root, 'examples/html/index.html')],
    '/html/starling.js': ['text/javascript', join(sdk, 'dist/index.js')],
    '/react/': ['text/html', join(root, 'examples/react/index.html')],
    '/react/app.js': ['text/javascript', join(react, 'app.js')],
};
const pages = createServer((request, response) => {
    const found = kPages[request.url.split('?')[0]];
    if (!found) { response.writeHead(404).end(); return; }
    response.writeHead(200, { 'Content-Type': found[0] }).end(readFileSync(found[1]));
});
await new Promise((done) => pages.listen(0, '127.0.0.1', done));
const gateway = await start_gateway(options.binary, ['--dev']);
const browser = existsSync(options.chromium) ? await chromium.launch({ executablePath: options.chromium, args: ['--no-sandbox'] }) : undefined;
const problems = [];

async function open(path, user) {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(60_000);
    page.on('pageerror', (error) => problems.push(String(error)));
    await page.goto(`http://127.0.0.1:${pages.address().port}${path}?user=${user}&gateway=${encodeURIComponent(gateway.url)}`);
    return page;
}
const sees = (page, selector, text) => page.waitForFunction(([where, wanted]) => document.querySelector(where)?.textContent === wanted, [selector, text]);

const count = new Count();
const in_browser = (name, run) => browser ? count.test(name, run) : count.skip(name, `there is no ${options.chromium} here`);

await in_browser('html: both pages show who is viewing', async () => {
    const ada = await open('/html/', 'ada');
    await sees(ada, '#viewers', '1 viewing: ada');
    const bob = await open('/html/', 'bob');
    await sees(ada, '#viewers', '2 viewing: ada, bob');
    await bob.waitForFunction(() => /^2 viewing: /.test(document.querySelector('#viewers').textContent));
    const script = readFileSync(join(root, 'examples/html/index.html'), 'utf8').trim().split('\n');
    expect(script.length <= 11, `the example has ${script.length} lines`);
});

await in_browser('react: presence, typing and a chat that a newcomer finds', async () => {
    const ada = await open('/react/', 'ada');
    const bob = await open('/react/', 'bob');
    await sees(ada, '#viewers', '2 here: ada, bob');
    await bob.type('#text', 'Hello');
    await sees(ada, '#typing', 'bob typing …');
    await bob.press('#text', 'Enter');
    await sees(ada, '#messages li', 'bob: Hello');
    await sees(ada, '#typing', '');
    const cyd = await open('/react/', 'cyd');
    await sees(cyd, '#messages li', 'bob: Hello');
    await sees(ada, '#viewers', '3 here: ada, bob, cyd');
});

await count.test('the pages threw nothing', () => expect(problems.length === 0, problems.join(' | ')));

await count.test('node-backend: its token opens the shop, an order is told and notified', async () => {
    const toml = join(root, 'examples/node-backend/starling.toml');
    const [, key] = /api_keys = \["([^"]+)"\]/.exec(readFileSync(toml, 'utf8'));
    const [, secret] = /secret = "([^"]+)"/.exec(readFileSync(toml, 'utf8'));
    const strict = await start_gateway(options.binary, ['--config', toml]);
    const backend = await start('node', [join(root, 'examples/node-backend/server.mjs')], {
        STARLING_URL: strict.url, STARLING_API_KEY: key, STARLING_TOKEN_SECRET: secret, PORT: '0',
    });
    const ask = (path, init = {}) => fetch(backend.url + path, { ...init, headers: { 'X-User': 'ada' } });
    expect((await fetch(`${backend.url}/starling-token`)).status === 401, 'nobody got a token');
    const { createClient } = await import(pathToFileURL(join(sdk, 'dist/index.js')));
    const ada = createClient({ url: strict.url, token: async () => (await ask('/starling-token')).text(), WebSocket });
    const heard = [];
    const orders = ada.channel('shop:orders');
    orders.subscribe('ordered', ({ data }) => heard.push(data));
    await orders.ready();
    const made = await ask('/orders', { method: 'POST', body: JSON.stringify({ item: 'feed' }) });
    expect(made.status === 201, `the order got ${made.status}`);
    await until(() => heard.length > 0 && ada.notifications.list.length > 0, `heard ${JSON.stringify(heard)}, ${ada.notifications.list.length} notifications`);
    expect(heard[0].item === 'feed' && heard[0].customer === 'ada', JSON.stringify(heard));
    expect(ada.notifications.list[0].data.title === 'Order 1 is on its way', JSON.stringify(ada.notifications.list));
    // The token gives no right to publish.
    const refused = await orders.publish({}).then(() => undefined, (error) => error);
    expect(refused?.code === 'forbidden', `a publish was answered by ${refused}`);
    ada.close();
    backend.stop();
    strict.stop();
});

await count.test('polling and push: all changes are seen, with far fewer requests', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
        join(root, 'bench/polling_vs_push.mjs'), options.binary, '--client', join(sdk, 'dist/index.js'),
        '--users', '20', '--poll-ms', '500', '--change-ms', '2000', '--seconds', '9',
    ]);
    const { changes, polling, push, users } = JSON.parse(stdout);
    console.log(`      polling ${JSON.stringify(polling)}, push ${JSON.stringify(push)}`);
    expect(push.seen === users * changes, `of ${users * changes} changes ${push.seen} were seen`);
    expect(push.requests === users + changes, `push took ${push.requests} requests`);
    // How soon, and how many requests at their real rates, is in bench/results/: a test may run on a busy machine.
    expect(push.requests < polling.requests / 2, 'push took too many requests');
});

await browser?.close();
gateway.stop();
count.end();

// The client and its hooks in Chromium: StrictMode, routes, offline and back, hidden and woken, the
// back-forward cache, and six tabs of one user.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, test } from 'node:test';
import { build } from 'esbuild';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { Cable, client, done, pause, post, present, publish, startGateway, until } from './process';

const script = (await build({
    entryPoints: ['test/browser/page.tsx'], bundle: true, write: false, format: 'iife', jsx: 'automatic', target: 'es2022',
    alias: { '@starling/client': './dist/index.js', '@starling/client/react': './dist/react.js' }, define: { 'process.env.NODE_ENV': '"development"' },
})).outputFiles[0]!.text;
const site = createServer((request, response) => {
    response.setHeader('Content-Type', request.url!.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(request.url!.endsWith('/page.js') ? script : request.url!.startsWith('/elsewhere') ? '<h1>elsewhere</h1>' : '<!doctype html><div id="root"></div><script src="/page.js"></script>');
});
await new Promise<void>((ready) => { site.listen(0, '127.0.0.1', ready); });
const address = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
// Pages are kept for going back as they are for people; by default the driver turns that off.
const browser: Browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox'], ignoreDefaultArgs: ['--disable-back-forward-cache'],
});
const gateway = await startGateway();
// Also after a story that failed, or those that follow would fail with it.
const contexts: BrowserContext[] = [];
async function newContext(): Promise<BrowserContext> {
    const context = await browser.newContext();
    contexts.push(context);
    return context;
}
afterEach(async () => {
    for (const context of contexts.splice(0)) { await context.close(); }
    done();
});
after(async () => { await browser.close(); site.close(); await gateway.stop(); });

async function visit(context: BrowserContext, user: string, at: { url: string } = gateway, linger = 1_000): Promise<Page> {
    const page = await context.newPage();
    page.on('pageerror', (error) => { throw error; });
    await page.goto(`${address}/?user=${user}&gateway=${encodeURIComponent(at.url)}&linger=${linger}`);
    await says(page, '#state', 'online');
    return page;
}
const says = async (page: Page, selector: string, wanted: string | RegExp, ms = 30_000): Promise<void> => {
    let found: string | null = '';
    await until(async () => { found = await page.textContent(selector, { timeout: 1000 }); return typeof wanted === 'string' ? found === wanted : wanted.test(found ?? ''); },
                () => `${selector} says "${found}", not "${wanted}"`, ms);
};
const frames = async (page: Page): Promise<any[]> => page.evaluate(() => (window as any).frames.splice(0));
const events = async (page: Page): Promise<string[]> => page.evaluate(() => (window as any).events.splice(0));
// Everybody of the story before is gone, and what was said is forgotten.
async function clean(): Promise<void> {
    await until(async () => (await present(gateway, 'doc:1')) === 0, 'somebody stays');
    await fetch(`${gateway.url}/v1/channels/doc:1/messages`, { method: 'DELETE', headers: { Authorization: 'Bearer dev' } });
}

test('all hooks show what there is, and StrictMode costs no frame', async () => {
    await clean();
    await publish(gateway, 'doc:1', 'before');
    const context = await newContext();
    const page = await visit(context, 'ada');
    await says(page, '#messages', 'before');
    await says(page, '#viewers', '1: ada');
    const sent = await frames(page);
    assert.deepEqual(sent.map((frame) => [frame.type, frame.channel]), [
        ['connect', undefined], ['subscribe', 'doc:1'], ['subscribe', 'price:eur'], ['history.get', 'doc:1'], ...(sent.length > 4 ? [['history.get', 'doc:1']] : []),
    ]);
    assert.deepEqual(sent[1].presence, { name: 'ada' });
    const bob = client(gateway.url, 'bob');
    const doc = bob.channel('doc:1');
    doc.presence.enter({ name: 'bob' });
    doc.typing.on(() => {});
    await says(page, '#viewers', '2: ada bob');
    await says(page, '#others', 'bob');
    doc.typing.keystroke();
    await says(page, '#typing', 'bob');
    await doc.publish('after');
    await says(page, '#messages', 'beforeafter');
    await says(page, '#typing', '');
    await page.fill('#field', 'x');
    await until(() => doc.typing.users.join() === 'ada', 'ada does not type');
    await post(gateway, '/v1/users/ada/notifications', { data: 'n' });
    await says(page, '#bell', '1 of 1');
    await page.click('#bell');
    await says(page, '#bell', '0 of 1');
    await post(gateway, '/v1/channels/price:eur/messages', { data: 7, event: 'move' });
    await post(gateway, '/v1/channels/price:eur/messages', { data: 8, event: 'other' });
    await says(page, '#price', '8 1');
    // Presence data that others change does not render who looks only at the names.
    const renders = await page.evaluate(() => (window as any).renders);
    doc.presence.update({ name: 'robert' });
    await says(page, '#viewers', '2: ada robert');
    assert.equal(await page.evaluate(() => (window as any).renders), renders);
});

test('a change of route costs no frame, and leaving for good ends the subscription', async () => {
    await clean();
    const context = await newContext();
    // Longer than the default, so that a slow machine is not taken for a slow route.
    const page = await visit(context, 'ada', gateway, 4_000);
    await says(page, '#viewers', '1: ada');
    await frames(page);
    const go = (route: string): Promise<void> => page.evaluate((to) => (window as any).go(to), route);
    await go('other');
    await says(page, 'section #viewers', '1: ada');
    await go('none');
    await go('home');
    await says(page, '#viewers', '1: ada');
    await pause(5_000);
    assert.deepEqual((await frames(page)).filter((frame) => !['history.get', 'ping'].includes(frame.type)).map((frame) => frame.type), []);
    await go('none');
    const sent: unknown[] = [];
    await until(async () => { sent.push(...(await frames(page)).map((frame) => [frame.type, frame.channel])); return sent.length >= 2; }, 'nothing is let go');
    assert.deepEqual(sent.sort(), [['unsubscribe', 'doc:1'], ['unsubscribe', 'price:eur']]);
});

test('thirty seconds offline: a banner, and back at once with all that was missed', async () => {
    await clean();
    const cable = await Cable.to(gateway);
    const context = await newContext();
    const page = await visit(context, 'ada', cable);
    await says(page, '#viewers', '1: ada');
    cable.cut();
    await context.setOffline(true);
    await says(page, '#state', /lost$/);
    const numbers = Array.from({ length: 10 }, (_, i) => i);
    for (const n of numbers) { await publish(gateway, 'doc:1', n); await pause(2_500); }
    cable.mend();
    await context.setOffline(false);
    // The backoff would have waited for up to 20 s; the network that is back is tried at once.
    await says(page, '#messages', numbers.join(''), 8_000);
    await says(page, '#state', 'online');
    assert.deepEqual((await events(page)).filter((one) => one.startsWith('gap')), []);
    cable.close();
});

test('hidden, asleep and looked at again: the dead connection is found in seconds', async () => {
    await clean();
    const cable = await Cable.to(gateway);
    const context = await newContext();
    const page = await visit(context, 'ada', cable);
    await says(page, '#viewers', '1: ada');
    const session = await context.newCDPSession(page);
    await session.send('Page.setWebLifecycleState', { state: 'frozen' });
    cable.stalled = true;
    await publish(gateway, 'doc:1', 'while it slept');
    await pause(2_000);
    cable.cut();    // Those that were open stay dead without a word.
    cable.mend();
    await session.send('Page.setWebLifecycleState', { state: 'active' });
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await says(page, '#messages', 'while it slept', 15_000);
    assert.deepEqual((await events(page)).filter((one) => one.startsWith('gap')), []);
    cable.close();
});

test('a page out of the back-forward cache goes on where it was', async () => {
    await clean();
    const context = await newContext();
    const page = await visit(context, 'ada');
    await says(page, '#viewers', '1: ada');
    await page.evaluate(() => { addEventListener('pageshow', (event) => (window as any).events.push(`persisted ${event.persisted}`)); });
    await page.goto(`${address}/elsewhere`);
    await publish(gateway, 'doc:1', 'while away');
    await page.evaluate(() => { history.back(); }).catch(() => {});
    await says(page, '#messages', 'while away');
    await says(page, '#state', 'online');
    const told = await events(page);
    assert.ok(told.includes('persisted true'), `the page was not kept: ${told}`);
    assert.deepEqual(told.filter((one) => one.startsWith('gap')), []);
});

test('six tabs of one user are one viewer, and closing them is no leave until the last', async () => {
    await clean();
    const bob = client(gateway.url, 'bob');
    const doc = bob.channel('doc:1');
    const changes: string[] = [];
    doc.presence.on(({ joined, left }) => changes.push(...joined.map((one) => `+${one.userId}`), ...left.map((one) => `-${one.userId}`)));
    await doc.ready();
    const context = await newContext();
    const pages: Page[] = [];
    for (let i = 0; i < 6; i += 1) { pages.push(await visit(context, 'ada')); }
    for (const page of pages) { await says(page, '#viewers', '1: ada'); }
    await pages[0]!.evaluate(() => (window as any).client.channel('doc:1').publish('from one'));
    for (const page of pages) { await says(page, '#messages', 'from one'); }
    await post(gateway, '/v1/users/ada/notifications', { data: 'six' });
    for (const page of pages) { await says(page, '#bell', /^1 of/); }
    await pages[5]!.click('#bell');
    for (const page of pages) { await says(page, '#bell', /^0 of/); }
    for (const page of pages.slice(1)) { await page.close(); }
    await publish(gateway, 'doc:1', 'to the last');
    await says(pages[0]!, '#messages', 'from oneto the last');
    assert.deepEqual(changes, ['+ada']);
    await pages[0]!.close();
    await until(() => changes.length === 2, 'ada stays');
    assert.deepEqual(changes, ['+ada', '-ada']);
    done();
});

test('in a worker, where there is no document', async () => {
    await clean();
    const context = await newContext();
    const page = await context.newPage();
    await page.goto(`${address}/elsewhere`);
    const code = (await build({
        stdin: {
            contents: `
                import { createClient } from './dist/index.js';
                const client = createClient({ url: ${JSON.stringify(gateway.url)}, user: 'ada' });
                client.channel('doc:1').subscribe((message) => { postMessage(message.data); client.close(); });
                client.channel('doc:1').publish('from a worker');`,
            resolveDir: process.cwd(),
        },
        bundle: true, write: false, format: 'iife',
    })).outputFiles[0]!.text;
    const heard = await page.evaluate((text) => new Promise((resolve) => {
        const worker = new Worker(URL.createObjectURL(new Blob([text], { type: 'text/javascript' })));
        worker.onmessage = (event) => resolve(event.data);
        worker.onerror = (event) => resolve(event.message);
    }), code);
    assert.equal(heard, 'from a worker');
});

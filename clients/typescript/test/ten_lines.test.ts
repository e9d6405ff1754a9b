// The ten lines of examples/html in Chromium, and a second page that looks on: through a gateway that is started
// anew, half a minute offline, a laptop that slept, a clock that jumped and tokens that expire, all that was
// published comes once and in order, and the onlooker's line of viewers never flickers.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, test } from 'node:test';
import { chromium, type BrowserContext, type Page } from 'playwright-core';
import { Cable, done, jwt, pause, present, publish, startGateway, startRedis, until, withTokens } from './process';

const kChannel = 'page:welcome';
const kPage = readFileSync('../../examples/html/index.html', 'utf8');
// What the tests look at; the ten lines themselves stay as they are.
const kWatch = `
  const seen = window.seen = { viewers: [], heard: [], told: [] };
  new MutationObserver(() => seen.viewers.push(document.querySelector('#viewers').textContent))
      .observe(document.querySelector('#viewers'), { childList: true, characterData: true, subtree: true });
  client.channel('${kChannel}').subscribe((message) => seen.heard.push(message.data));
  client.channel('${kChannel}').on('gap', (gap) => seen.told.push('gap ' + gap.reason));
  client.on('state', (view) => seen.told.push(view.state));
  client.on('lost', () => seen.told.push('lost'));
</script>`;

let lifetime = 3;       // Of a token, in seconds.
let minted = 0;
let minting = true;
const site = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://site');
    const send = (type: string, text: string): void => { response.setHeader('Content-Type', type); response.end(text); };
    if (pathname === '/starling.js') { return send('text/javascript', readFileSync('dist/index.js', 'utf8')); }
    if (pathname === '/token') {
        minted += 1;
        if (!minting) { response.statusCode = 503; return response.end(); }
        return send('text/plain', jwt({ sub: searchParams.get('user'), exp: Math.floor(Date.now() / 1000) + lifetime }));
    }
    const token = `token: () => fetch('/token' + location.search).then((answer) => answer.ok ? answer.text() : Promise.reject(Error('no token')))`;
    const page = pathname === '/tokens' ? kPage.replace(`user: searchParams.get('user') ?? 'guest'`, token) : kPage;
    return send('text/html', page.replace('</script>', kWatch));
});
await new Promise<void>((ready) => { site.listen(0, '127.0.0.1', ready); });
const address = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
const browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
const contexts: BrowserContext[] = [];
afterEach(async () => {
    for (const context of contexts.splice(0)) { await context.close(); }
    done();
});
after(async () => { await browser.close(); site.close(); });

interface Seen { viewers: string[]; heard: unknown[]; told: string[] }
const seen = (page: Page): Promise<Seen> => page.evaluate(() => (window as any).seen);
const forget = (page: Page): Promise<void> => page.evaluate(() => { for (const list of Object.values((window as any).seen) as unknown[][]) { list.length = 0; } });

async function open(user: string, gateway: { url: string }, path = '/', prepare?: (page: Page) => Promise<void>): Promise<Page> {
    const context = await browser.newContext();
    contexts.push(context);
    const page = await context.newPage();
    page.on('pageerror', (error) => { throw error; });
    await prepare?.(page);
    await page.goto(`${address}${path}?user=${user}&gateway=${encodeURIComponent(gateway.url)}`);
    return page;
}
async function shows(page: Page, wanted: string): Promise<void> {
    let found: string | null = '';
    await until(async () => (found = await page.textContent('#viewers'))!.replace('bob, ada', 'ada, bob') === wanted, () => `the page shows "${found}", not "${wanted}"`);
}
async function hears(page: Page, wanted: unknown[]): Promise<void> {
    let heard: unknown[] = [];
    await until(async () => (heard = (await seen(page)).heard).length >= wanted.length, () => `the page heard ${heard}, not ${wanted}`);
    assert.deepEqual((await seen(page)).heard, wanted);
}

// Ada goes through it, bob looks on; both pages are settled, and what they showed until then is forgotten.
async function two(ada: Promise<Page>, bob: Promise<Page>): Promise<[Page, Page]> {
    const pages: [Page, Page] = [await ada, await bob];
    for (const page of pages) { await shows(page, '2 viewing: ada, bob'); }
    for (const page of pages) { await forget(page); }
    return pages;
}
// Longer than any absence here, so that the onlooker has nothing to see.
const kPatient = ['--presence.linger_ms=90000', '--cluster.lease_ms=120000'];

test('a gateway that is started anew: both are back, and neither saw the other go', async () => {
    let gateway = await startGateway();
    const pages = await two(open('ada', gateway), open('bob', gateway));
    await publish(gateway, kChannel, 'before');
    for (const page of pages) { await hears(page, ['before']); }
    for (let round = 0; round < 3; round += 1) {
        await gateway.stop();
        await pause(500);
        gateway = await startGateway([], { port: gateway.port });
        await until(async () => (await present(gateway, kChannel)) === 2, 'they are not present');
        await publish(gateway, kChannel, `after ${round}`);
        for (const page of pages) { await until(async () => (await seen(page)).heard.at(-1) === `after ${round}`, 'nothing comes'); }
    }
    // Longer than whoever did not come back would be shown.
    await pause(21_000);
    for (const page of pages) {
        const { viewers, heard, told } = await seen(page);
        assert.deepEqual(heard, ['before', 'after 0', 'after 1', 'after 2']);
        assert.equal(told.filter((one) => one === 'gap epoch').length, 3);
        assert.deepEqual(viewers.filter((one) => !/^2 viewing/.test(one)), []);
    }
    await gateway.stop();
});

test('a gateway that is started anew, its Redis and another node not: nothing is missed, and nobody is seen to go', async () => {
    const redis = await startRedis();
    const flags = ['--engine.type=redis', `--redis.url=redis://127.0.0.1:${redis.port}`];
    let first = await startGateway(flags);
    const second = await startGateway(flags);
    const [ada, bob] = await two(open('ada', first), open('bob', second));
    const told: unknown[] = [];
    for (let n = 0; n < 12; n += 1) {
        if (n === 4) { await first.stop(); }
        if (n === 8) { first = await startGateway(flags, { port: first.port }); }
        await publish(second, kChannel, n);
        told.push(n);
        await pause(50);
    }
    for (const page of [ada, bob]) { await hears(page, told); }
    await pause(2_000);
    for (const page of [ada, bob]) { assert.deepEqual((await seen(page)).viewers, []); }
    assert.ok(!(await seen(ada)).told.some((one) => one.startsWith('gap')));
    await first.stop();
    await second.stop();
    await redis.stop();
});

test('half a minute offline: all that was missed comes at once, and the others see one leave and one return, or nothing', async () => {
    // By default presence ends 5 s after the connection did; where it lingers for longer nobody sees anything.
    const stories = [await startGateway(), await startGateway(kPatient)].map(async (gateway, index) => {
        const cable = await Cable.to(gateway);
        const [ada, bob] = await two(open('ada', cable), open('bob', gateway));
        cable.cut();
        await ada.context().setOffline(true);
        const numbers = Array.from({ length: 15 }, (_, n) => n);
        for (const n of numbers) { await publish(gateway, kChannel, n); await pause(2_000); }
        cable.mend();
        await ada.context().setOffline(false);
        for (const page of [ada, bob]) { await hears(page, numbers); }
        await shows(bob, '2 viewing: ada, bob');
        await pause(1_000);
        assert.deepEqual((await seen(bob)).viewers, index === 0 ? ['1 viewing: bob', '2 viewing: bob, ada'] : []);
        assert.deepEqual((await seen(ada)).told.filter((one) => /gap|lost/.test(one)), ['lost']);
        assert.deepEqual((await seen(ada)).viewers.filter((one) => !/^2 viewing/.test(one)), []);
        await gateway.stop();
    });
    await Promise.all(stories);
});

test('a laptop that slept for hours: the dead connection is found, and what was missed comes', async () => {
    const gateway = await startGateway(kPatient);
    const cable = await Cable.to(gateway);
    const [ada, bob] = await two(open('ada', cable, '/', (page) => page.clock.install()), open('bob', gateway));
    cable.silence();
    for (const n of [1, 2, 3]) { await publish(gateway, kChannel, n); }
    await pause(1_000);
    await ada.clock.fastForward('03:00:00');
    for (const page of [ada, bob]) { await hears(page, [1, 2, 3]); }
    for (const page of [ada, bob]) {
        assert.deepEqual((await seen(page)).viewers, []);
        assert.ok(!(await seen(page)).told.some((one) => one.startsWith('gap')));
    }
    // The clock alone, set forth and back: nothing happens at all.
    for (const page of [ada, bob]) { await forget(page); }
    for (const hours of [5, 0, -48, 0]) {
        await ada.clock.setSystemTime(Date.now() + hours * 3_600_000);
        await publish(gateway, kChannel, hours);
        await pause(1_000);
    }
    await hears(ada, [5, 0, -48, 0]);
    assert.deepEqual(await seen(ada), { viewers: [], heard: [5, 0, -48, 0], told: [] });
    assert.deepEqual((await seen(bob)).viewers, []);
    await gateway.stop();
});

test('tokens of a few seconds: refreshed unseen, and had again after their backend was away', async () => {
    const gateway = await startGateway(['--auth.refresh_grace_ms=1000', ...kPatient], { config: withTokens(`[server]\nallowed_origins = ["${address}"]\n`) });
    const [ada, bob] = await two(open('ada', gateway, '/tokens'), open('bob', gateway, '/tokens'));
    minted = 0;
    await pause(9_000);
    assert.ok(minted >= 6, `${minted} tokens`);
    for (const page of [ada, bob]) { assert.deepEqual(await seen(page), { viewers: [], heard: [], told: [] }); }
    minting = false;
    await until(async () => (await seen(ada)).told.includes('waiting') && (await seen(bob)).told.includes('waiting'), 'no token is needed');
    for (const n of [1, 2, 3]) { await publish(gateway, kChannel, n); }
    await pause(1_000);
    lifetime = 60;
    minting = true;
    for (const page of [ada, bob]) { await hears(page, [1, 2, 3]); }
    await pause(1_000);
    for (const page of [ada, bob]) {
        assert.deepEqual((await seen(page)).viewers, []);
        assert.ok(!(await seen(page)).told.some((one) => one.startsWith('gap')));
    }
    await gateway.stop();
});

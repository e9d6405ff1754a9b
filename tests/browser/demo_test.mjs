// The demo page, told as people see it. See README.md for how to run it.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { expect, hidden, Person, post, record, sees, start_browser, start_cable, start_gateway, Stories, until } from './harness.mjs';

const { values: options } = parseArgs({ options: {
    binary: { type: 'string', default: '../../build/release/starling' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
    shots: { type: 'string' },
    only: { type: 'string' },     // A pattern: the stories to tell.
} });

const gateway = await start_gateway(options.binary);
// Where a browser must be back within the linger, it may take its time on a busy machine.
const patient = await start_gateway(options.binary, ['--presence.linger_ms', '60000', '--cluster.lease_ms', '90000']);
const browser = await start_browser(options.chromium);
const stories = new Stories();
const everybody = [];

async function person(user, context = {}, by = gateway) {
    const made = new Person(await browser.newContext(context), by, user);
    everybody.push(made);
    return made;
}

async function story(name, tell) {
    if (options.only !== undefined && !new RegExp(options.only).test(name)) { return; }
    await stories.tell(name, async () => {
        const before = everybody.length;
        try {
            await tell();
            const problems = everybody.slice(before).flatMap((one) => one.problems);
            expect(problems.length === 0, `the page complained: ${problems.join(' | ')}`);
        } finally {
            for (const one of everybody.splice(before)) { await one.context.close(); }
            await nobody();
        }
    });
}

// Closed pages linger; a story begins when the last one's people are gone.
async function nobody() {
    await until(async () => {
        const answer = await fetch(`${gateway.url}/v1/channels/doc:demo/presence/count`, { headers: { Authorization: 'Bearer dev' } });
        return (await answer.json()).count === 0;
    }, () => 'people of a closed page are still there');
}

const add_card = async (page, text) => { await page.fill('#note', text); await page.press('#note', 'Enter'); };

await story('who joins is seen, who leaves is gone', async () => {
    const ada = await (await person('ada')).open();
    await sees(ada, '#viewers', '1 person viewing');
    const bob_person = await person('bob');
    const bob = await bob_person.open();
    await sees(ada, '#viewers', '2 people viewing');
    await sees(bob, '#viewers', '2 people viewing');
    const cyd = await (await person('cyd')).open();
    await sees(bob, '#viewers', '3 people viewing');
    await sees(cyd, '#viewers', '3 people viewing');
    await ada.waitForSelector('#avatars [title="bob"]');
    await ada.waitForSelector('#avatars [title="ada (you)"]');
    await bob_person.context.close();
    await sees(ada, '#viewers', '2 people viewing');
    await hidden(ada, '#avatars [title="bob"]');
});

await story('a second tab is the same person', async () => {
    const ada = await (await person('ada')).open();
    const bob_person = await person('bob');
    const bob = await bob_person.open();
    await sees(ada, '#viewers', '2 people viewing');
    const seen = await record(ada, '#viewers');
    const again = await bob_person.open();
    await sees(again, '#viewers', '2 people viewing');
    await add_card(again, 'from the second tab');
    await sees(ada, '#cards .card-text', 'from the second tab');
    await again.close();
    await add_card(bob, 'from the first tab');
    await sees(ada, '#cards .card-text', 'from the first tab');
    expect((await seen()).length === 1, `the count changed: ${await seen()}`);
});

await story('a name of its own for each browser, kept over tabs', async () => {
    const guest = await person(undefined);
    const first = await guest.open();
    const name = await first.textContent('#me-name');
    const second = await guest.open();
    await sees(second, '#me-name', name);
    await sees(second, '#viewers', '1 person viewing');
});

await story('a reload shows nobody a flicker', async () => {
    const ada = await (await person('ada', {}, patient)).open();
    const bob = await (await person('bob', {}, patient)).open();
    await sees(ada, '#viewers', '2 people viewing');
    const seen = await record(ada, '#viewers');
    for (let i = 0; i < 3; i += 1) {
        await bob.reload();
        await sees(bob, '#viewers', '2 people viewing');
        await sees(bob, '#status-text', 'Live');
    }
    // A message after all of it: whatever the reloads caused was before.
    await add_card(bob, 'reloaded');
    await sees(ada, '#cards .card-text', 'reloaded');
    expect((await seen()).length === 1, `the count changed: ${await seen()}`);
});

await story('typing is shown, ends by itself and ends with the card', async () => {
    const ada = await (await person('ada')).open();
    const bob = await (await person('bob')).open();
    await sees(ada, '#viewers', '2 people viewing');
    await bob.type('#note', 'Hel');
    await sees(ada, '#typing', 'bob is typing');
    await sees(ada, '#typing', '');  // Bob does nothing: the gateway ends it.
    await bob.type('#note', 'lo');
    await sees(ada, '#typing', 'bob is typing');
    await bob.press('#note', 'Enter');
    await sees(ada, '#cards .card-text', 'Hello');
    await sees(ada, '#typing', '');
    expect(await bob.textContent('#typing') === '', 'one is not shown oneself');
});

await story('a newcomer finds the cards, in order, as text', async () => {
    const ada = await (await person('ada')).open();
    await add_card(ada, 'first of two');
    await sees(ada, '#cards .card:not(.waiting) .card-text', 'first of two');
    await add_card(ada, '<img src=x onerror=alert(1)>');
    await sees(ada, '#cards .card:not(.waiting) .card-text', '<img src=x onerror=alert(1)>');
    const bob = await (await person('bob')).open();
    await sees(bob, '#cards .card-text', '<img src=x onerror=alert(1)>');
    const texts = await bob.locator('#cards .card-text').allTextContents();
    expect(texts[1] === 'first of two', `newest first, found ${texts}`);
    expect(await bob.locator('#cards img').count() === 0, 'a card became markup');
});

await story('pointers move, and go with their person', async () => {
    const ada = await (await person('ada')).open();
    const bob_person = await person('bob');
    const bob = await bob_person.open();
    await sees(ada, '#viewers', '2 people viewing');
    const box = await bob.locator('.board').boundingBox();
    await bob.mouse.move(box.x + box.width / 2, box.y + 100);
    await bob.mouse.move(box.x + box.width / 4, box.y + 200, { steps: 10 });
    await ada.waitForFunction(() => {
        const mark = document.querySelector('#cursors [data-user="bob"]');
        return mark !== null && Math.abs(Number(mark.style.getPropertyValue('--x')) - 0.25) < 0.01;
    });
    expect(await bob.locator('#cursors .cursor').count() === 0, 'one does not see the own pointer');
    await bob_person.context.close();
    await sees(ada, '#viewers', '1 person viewing');
    await hidden(ada, '#cursors [data-user="bob"]');
});

await story('a notification reaches both tabs; acknowledging clears both', async () => {
    const ada_person = await person('ada');
    const first = await ada_person.open();
    const second = await ada_person.open();
    await post(gateway, '/v1/users/ada/notifications', { data: { title: 'Build is green', body: 'main' } });
    await sees(first, '#unread', '1');
    await sees(second, '#unread', '1');
    await post(gateway, '/v1/users/ada/notifications', { data: 'plain words' });
    await sees(first, '#unread', '2');
    await sees(second, '#unread', '2');
    await first.click('#bell');
    await sees(first, '#notifications li:first-child strong', 'plain words');
    await sees(first, '#notifications li:nth-child(2) strong', 'Build is green');
    await first.click('#ack');
    await hidden(first, '#unread');
    await hidden(second, '#unread');
    const third = await ada_person.open();
    await hidden(third, '#unread');
    await sees(third, '#unread', '0');
});

await story('a notification waits for who is away', async () => {
    const ada_person = await person('ada');
    const before = await ada_person.open();
    await before.close();
    await post(gateway, '/v1/users/ada/notifications', { data: { title: 'While you were out' } });
    const after = await ada_person.open();
    await sees(after, '#unread', '1');
    await after.click('#bell');
    await sees(after, '#notifications li:first-child strong', 'While you were out');
    await after.click('#ack');
    await hidden(after, '#unread');
});

await story('the tile is fed over HTTP, with history for a newcomer', async () => {
    const ada = await (await person('ada')).open();
    await post(gateway, '/v1/channels/dash:demo/messages', { data: { label: 'Orders', value: 41 } });
    await sees(ada, '#tile-value', '41');
    await post(gateway, '/v1/channels/dash:demo/messages', { data: { label: 'Orders', value: 43 } });
    await sees(ada, '#tile-value', '43');
    await sees(ada, '#tile-label', 'Orders');
    await sees(ada, '#seen', /^[1-9]/);
    await sees(ada, '#rate', /^[0-9.]*[1-9]/);
    const bob = await (await person('bob')).open();
    await sees(bob, '#tile-value', '43');
    expect((await bob.textContent('#tile-curl')).includes(`${gateway.url}/v1/channels/dash:demo/messages`), 'the curl line names this gateway');
    await bob.click('#tile-send');
    await sees(ada, '#tile-label', 'Orders today');
});

await story('a new name is seen at once', async () => {
    const ada_person = await person('ada');
    const ada = await ada_person.open();
    const bob = await (await person('bob')).open();
    await bob.waitForSelector('#avatars [title="ada"]');
    await ada.click('#me');
    await ada.fill('#name', 'Ada Lovelace');
    await ada.press('#name', 'Enter');
    await bob.waitForSelector('#avatars [title="Ada Lovelace"]');
    await sees(ada, '#me-name', 'Ada Lovelace');
    const second = await ada_person.open();
    await sees(second, '#me-name', 'Ada Lovelace');
});

await story('cut off: says so, keeps what was written, and misses nothing', async () => {
    const cable = await start_cable(gateway);
    try {
        const ada = await (await person('ada', {}, { ...gateway, url: cable.url })).open();
        const bob = await (await person('bob')).open();
        await sees(bob, '#viewers', '2 people viewing');
        cable.cut();
        await sees(ada, '#status-text', /Reconnecting|Connecting/);
        await ada.waitForSelector('#banner');
        await add_card(ada, 'written offline');
        await ada.waitForSelector('#cards .card.waiting');
        await add_card(bob, 'missed by ada');
        await sees(bob, '#cards .card:not(.waiting) .card-text', 'missed by ada');
        await post(gateway, '/v1/users/ada/notifications', { data: 'missed as well' });
        cable.mend();
        await sees(ada, '#status-text', 'Live');
        await hidden(ada, '#banner');
        await sees(bob, '#cards .card-text', 'written offline');
        await sees(ada, '#cards .card:not(.waiting) .card-text', 'written offline');
        await sees(ada, '#unread', '1');
        await sees(ada, '#viewers', '2 people viewing');
        for (const text of ['missed by ada', 'written offline']) {
            const count = await ada.locator('#cards .card-text', { hasText: text }).count();
            expect(count === 1, `"${text}" should be there once, it is there ${count} times`);
        }
        await ada.click('#bell');
        await ada.click('#ack');
        await hidden(ada, '#unread');
    } finally {
        cable.close();
    }
});

await story('three pages at once: all see the same', async () => {
    const names = ['ada', 'bob', 'cyd'];
    const pages = [];
    for (const name of names) { pages.push(await (await person(name)).open()); }
    for (const page of pages) { await sees(page, '#viewers', '3 people viewing'); }
    // All write at the same time, and all have the same order in the end.
    await Promise.all(pages.map((page, index) => add_card(page, `together ${names[index]}`)));
    const order = async (page) => (await page.locator('#cards .card:not(.waiting) .card-text').allTextContents()).filter((text) => text.startsWith('together')).join();
    await until(async () => (await Promise.all(pages.map(order))).every((text) => text.split(',').length === 3), () => 'not all notes arrived');
    const orders = await Promise.all(pages.map(order));
    expect(new Set(orders).size === 1, `the orders differ: ${orders.join(' | ')}`);
    await pages[0].type('#note', 'a');
    await pages[1].type('#note', 'b');
    await sees(pages[2], '#typing', /^(ada and bob|bob and ada) are typing$/);
    for (const [index, page] of pages.entries()) {
        const box = await page.locator('.board').boundingBox();
        await page.mouse.move(box.x + 100 + 50 * index, box.y + 200, { steps: 3 });
    }
    for (const [index, page] of pages.entries()) {
        await page.waitForFunction(() => document.querySelectorAll('#cursors .cursor').length === 2);
        await hidden(page, `#cursors [data-user="${names[index]}"]`);
    }
});

await story('offline and back: others see no flicker, and the page says when', async () => {
    const cable = await start_cable(patient);
    try {
        const eve_person = await person('eve', {}, { ...patient, url: cable.url });
        const eve = await eve_person.open();
        const fay = await (await person('fay', {}, patient)).open();
        await fay.waitForSelector('#avatars [title="eve"]');
        const seen = await record(fay, '#viewers');
        await eve_person.context.setOffline(true);
        cable.cut();
        await eve.waitForSelector('#banner');
        await add_card(eve, 'from the tunnel');
        cable.mend();
        await eve_person.context.setOffline(false);   // The browser says `online`, and the client goes at once.
        await sees(eve, '#status-text', 'Live');
        await sees(fay, '#cards .card-text', 'from the tunnel');
        expect((await seen()).length === 1, `the count changed: ${await seen()}`);
    } finally {
        cable.close();
    }
});

await story('told to reconnect: the new connection comes first, and nobody notices', async () => {
    const bob = await (await person('bob')).open();
    const ada_person = await person('ada');
    const routes = [];
    const order = [];
    await ada_person.context.routeWebSocket(/\/v1\/ws$/, (route) => {
        const number = routes.push(route);
        order.push(`open ${number}`);
        const server = route.connectToServer();
        route.onClose((code, reason) => { order.push(`close ${number} ${code}`); void server.close({ code, reason }); });
    });
    const ada = await ada_person.open();
    await sees(bob, '#viewers', '2 people viewing');
    const seen = await record(bob, '#viewers');
    const status = await record(ada, '#status-text');
    routes[0].send(JSON.stringify({ type: 'reconnect', delay: 50 }));
    await until(() => order.length >= 3, () => `the order was ${order}`);
    expect(/^open 1,open 2,close 1/.test(order.join()), `the order was ${order}`);
    await add_card(ada, 'from the new connection');
    await sees(bob, '#cards .card-text', 'from the new connection');
    await add_card(bob, 'to the new connection');
    await sees(ada, '#cards .card:not(.waiting) .card-text', 'to the new connection');
    expect((await seen()).length === 1, `the count changed: ${await seen()}`);
    expect((await status()).length === 1, `the status changed: ${await status()}`);
});

await story('ended by the backend: stays away until asked', async () => {
    const ada = await (await person('ada')).open();
    await post(gateway, '/v1/users/ada/disconnect', { code: 4005, reason: 'closing time' });
    await sees(ada, '#status-text', 'Disconnected');
    await sees(ada, '#banner-text', /closing time/);
    await ada.click('#banner-button');
    await sees(ada, '#status-text', 'Live');
});

await story('looks', async () => {
    if (options.shots === undefined) { return; }
    await mkdir(options.shots, { recursive: true });
    const people = ['Grace Hopper', 'Alan Turing', 'Barbara Liskov', 'Edsger Dijkstra', 'Donald Knuth', 'Radia Perlman'];
    const pages = [];
    for (const name of people) { pages.push(await (await person(encodeURIComponent(name))).open()); }
    const lines = ['Release notes need one more pass', 'Load test at 50 K connections: done',
                   'Who takes the on-call week of the launch?', 'Pricing page copy is final', 'A rolling restart drill on Thursday',
                   'Dark mode screenshots for the blog post'];
    for (const [index, line] of lines.entries()) {
        await add_card(pages[index], line);
        await sees(pages[0], '#cards .card:not(.waiting) .card-text', line);
    }
    for (const value of [12, 18, 17, 25, 31, 29, 38, 44, 41, 52, 58, 63]) {
        await post(gateway, '/v1/channels/dash:demo/messages', { data: { label: 'Orders today', value } });
    }
    for (const colorScheme of ['light', 'dark']) {
        for (const [size, context] of Object.entries({
            desktop: { viewport: { width: 1280, height: 860 } },
            phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
        })) {
            const ada_person = await person('ada', { ...context, colorScheme });
            const ada = await ada_person.open();
            await sees(ada, '#viewers', '7 people viewing');
            await sees(ada, '#tile-value', '63');
            for (const [index, page] of pages.slice(0, 2).entries()) {
                const box = await page.locator('.board').boundingBox();
                await page.mouse.move(box.x + box.width * (0.3 + index * 0.35), box.y + 330 + index * 120, { steps: 3 });
            }
            await ada.waitForFunction(() => document.querySelectorAll('#cursors .cursor').length === 2);
            await pages[2].type('#note', 'x');
            await sees(ada, '#typing', /typing/);
            const wide = await ada.evaluate((width) => document.documentElement.scrollWidth - width, context.viewport.width);
            expect(wide <= 0, `the ${size} page is ${wide} pixels too wide`);
            await ada.screenshot({ path: join(options.shots, `${size}-${colorScheme}.png`), fullPage: size === 'phone' });
            await post(gateway, '/v1/users/ada/notifications', { data: { title: 'Grace Hopper mentioned you', body: 'in “Launch board”' } });
            await sees(ada, '#unread', /[1-9]/);
            await ada.click('#bell');
            await ada.screenshot({ path: join(options.shots, `${size}-${colorScheme}-bell.png`) });
            await ada_person.context.close();
            await sees(pages[0], '#viewers', '6 people viewing');
        }
    }
});

await browser.close();
await gateway.stop();
await patient.stop();
console.log(`${stories.passed} passed, ${stories.failed} failed`);
process.exitCode = stories.failed === 0 ? 0 : 1;

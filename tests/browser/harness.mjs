// What the stories need: a gateway on free ports, a browser, and a list of what passed.
import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

export const kPatienceMs = 15_000;  // How long a condition may take before the story has failed.

// The lines that say where it listens begin with the public listener; the admin listener takes a free port too.
export async function start_gateway(binary, flags = []) {
    const child = spawn(binary, ['serve', '--dev', '--server.listen', '127.0.0.1:0', '--server.admin', '127.0.0.1:0', ...flags],
                        { stdio: ['ignore', 'pipe', 'pipe'] });
    let noise = '';
    child.stderr.on('data', (chunk) => { noise = (noise + chunk).slice(-4000); });
    const lines = [];
    const address = await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`the gateway printed no address: ${lines.join('\n')}\n${noise}`)), kPatienceMs);
        child.once('error', reject);
        child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}: ${noise}`)));
        createInterface({ input: child.stdout }).on('line', (line) => {
            lines.push(line);
            const found = /admin/i.test(line) ? null : /(127\.0\.0\.1:\d+)/.exec(line);
            if (found !== null) { clearTimeout(timer); resolve(found[1]); }
        });
    });
    child.removeAllListeners('exit');
    const stop = () => new Promise((resolve) => {
        if (child.exitCode !== null) { resolve(); return; }
        child.once('exit', resolve);
        child.kill('SIGKILL');
    });
    return { address, url: `http://${address}`, stop };
}

// A cable between a page and the gateway that can be cut and mended.
export async function start_cable(gateway) {
    const port = Number(gateway.address.split(':')[1]);
    const sockets = new Set();
    let whole = true;
    const server = createServer((near) => {
        if (!whole) { near.destroy(); return; }
        const far = connect(port, '127.0.0.1');
        for (const socket of [near, far]) {
            sockets.add(socket);
            socket.on('error', () => undefined);
            socket.on('close', () => { sockets.delete(socket); near.destroy(); far.destroy(); });
        }
        near.pipe(far).pipe(near);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const cut = () => { whole = false; for (const socket of sockets) { socket.destroy(); } };
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        cut,
        mend: () => { whole = true; },
        close: () => { cut(); server.close(); },
    };
}

export function start_browser(executable) {
    return chromium.launch({ executablePath: executable, args: ['--no-sandbox'] });
}

export async function post(gateway, path, body) {
    const answer = await fetch(gateway.url + path, {
        method: 'POST',
        headers: { Authorization: 'Bearer dev', 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });
    if (!answer.ok) { throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`); }
    return answer.json();
}

// One person's browser: a context of its own, so tabs share a user and other people's storage is apart.
export class Person {
    constructor(context, gateway, user) { Object.assign(this, { context, gateway, user, problems: [] }); }

    async open(options = {}) {
        const page = await this.context.newPage();
        page.setDefaultTimeout(kPatienceMs);
        page.on('pageerror', (error) => this.problems.push(String(error)));
        page.on('console', (message) => {
            const broken_connection = /WebSocket connection to|ERR_CONNECTION/.test(message.text());
            if (message.type() === 'error' && !broken_connection) { this.problems.push(message.text()); }
        });
        await page.goto(`${this.gateway.url}/demo/${this.user === undefined ? '' : `?user=${this.user}`}`);
        if (options.live !== false) { await sees(page, '#status-text', 'Live'); }
        return page;
    }
}

// Waits until the element's text is (or, for a pattern, matches) what is wanted.
export async function sees(page, selector, wanted) {
    const pattern = wanted instanceof RegExp ? wanted.source : undefined;
    try {
        await page.waitForFunction(([where, text, source]) => {
            const found = document.querySelector(where)?.textContent ?? '';
            return source === undefined ? found === text : new RegExp(source).test(found);
        }, [selector, pattern === undefined ? wanted : '', pattern]);
    } catch (error) {
        const found = await page.textContent(selector, { timeout: 1000 }).catch(() => '(no element)');
        throw new Error(`${selector} should say "${wanted}", it says "${found}" (${error.name})`);
    }
}

export async function hidden(page, selector) { await page.waitForSelector(selector, { state: 'hidden' }); }

// For conditions outside of a page.
export async function until(condition, complaint) {
    const end = performance.now() + kPatienceMs;
    while (!await condition()) {
        if (performance.now() > end) { throw new Error(complaint()); }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

// Notes every text that the element shows from now on.
export async function record(page, selector) {
    await page.evaluate((where) => {
        const target = document.querySelector(where);
        window.recorded = [target.textContent];
        new MutationObserver(() => window.recorded.push(target.textContent))
            .observe(target, { childList: true, characterData: true, subtree: true });
    }, selector);
    return () => page.evaluate(() => window.recorded);
}

export function expect(condition, text) { if (!condition) { throw new Error(text); } }

export class Stories {
    passed = 0;
    failed = 0;

    async tell(name, story) {
        const start = performance.now();
        try {
            await story();
            this.passed += 1;
            console.log(`ok    ${name} (${Math.round(performance.now() - start)} ms)`);
        } catch (error) {
            this.failed += 1;
            console.log(`FAIL  ${name}\n      ${error instanceof Error ? error.message : error}`);
        }
    }
}

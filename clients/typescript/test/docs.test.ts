// The documents do what they say: the tutorial is followed step by step in a browser, every TypeScript block of the
// guides compiles, and the tokens of the guide are taken by the gateway.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { chromium, type Page } from 'playwright-core';
import { client, done, freePort, startGateway, until } from './process';

const guides = '../../docs/guides';
const closing: (() => unknown)[] = [];
after(async () => { for (const close of closing.reverse()) { await close(); } });

interface Block { language: string; text: string; before: string }
function blocks(page: string): Block[] {
    return [...page.matchAll(/([^\n]*)\n\n```(\w+)\n([\s\S]*?)```/g)].map(([, before, language, text]) => ({ before: before!, language: language!, text: text! }));
}

test('the tutorial, step by step', async () => {
    const text = readFileSync(join(guides, 'tutorial.md'), 'utf8');
    const steps = text.split(/^## /m).slice(1);
    let gateway = await startGateway();
    const folder = mkdtempSync(join(tmpdir(), 'starling-tutorial-'));
    closing.push(() => rmSync(folder, { recursive: true, force: true }));

    // Step 2: the package as it would be published, into a folder of its own.
    const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder], { encoding: 'utf8' }).trim().split('\n').at(-1)!;
    execFileSync('npm', ['install', '--offline', '--silent', '--no-audit', '--no-fund', '--legacy-peer-deps', join(folder, tarball)], { cwd: folder });
    // What is served says only to the second when it was changed, and a browser that has it asks no more than that:
    // each step is later than the one before by more, as it is where a person types.
    let changedAt = Date.now() / 1_000;
    const carryOut = (step: string): void => {
        changedAt += 2;
        for (const { before, text: code } of blocks(step)) {
            const [, how, name] = /(Write|Add to) `([\w.]+)`:/.exec(before)!;
            const here = code.replaceAll('http://127.0.0.1:8000', gateway.url);
            const file = join(folder, name!);
            if (how === 'Write') { writeFileSync(file, here); } else { appendFileSync(file, `\n${here}`); }
            utimesSync(file, changedAt, changedAt);
        }
    };
    carryOut(steps[1]!);

    // Step 3.
    carryOut(steps[2]!);
    const port = await freePort();
    const server = spawn('python3', ['-m', 'http.server', '--bind', '127.0.0.1', String(port)], { cwd: folder, stdio: 'ignore' });
    closing.push(() => server.kill());
    const browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
    closing.push(() => browser.close());
    await until(async () => (await fetch(`http://127.0.0.1:${port}/`)).ok, 'the folder is not served');
    const open = async (user: string): Promise<Page> => {
        const page = await browser.newPage();
        await page.goto(`http://127.0.0.1:${port}/?user=${user}`);
        return page;
    };
    const says = async (page: Page, id: string, wanted: string): Promise<void> => {
        let found: string | null = '';
        await until(async () => (found = await page.textContent(`#${id}`)) === wanted, () => `#${id} says "${found}", not "${wanted}"`, 30_000);
    };
    const [ada, bob] = [await open('ada'), await open('bob')];
    await says(ada, 'viewers', '2 here: ada, bob');
    await says(bob, 'viewers', '2 here: ada, bob');
    await (await open('ada')).close();
    await says(bob, 'viewers', '2 here: ada, bob');

    // Step 4.
    const reload = async (): Promise<void> => { await ada.reload(); await bob.reload(); await says(ada, 'viewers', '2 here: ada, bob'); };
    const say = async (page: Page, words: string): Promise<void> => { await page.fill('#text', words); await page.press('#text', 'Enter'); };
    carryOut(steps[3]!);
    await reload();
    await say(ada, 'hello');
    for (const page of [ada, bob]) { await says(page, 'messages', 'ada: hello'); }
    const late = await open('cyd');
    await says(late, 'messages', 'ada: hello');
    await late.close();

    // Step 5.
    carryOut(steps[4]!);
    await until(async () => { await reload(); return true; }, 'no reload');
    await ada.type('#text', 'more');
    await says(bob, 'typing', 'ada typing');
    await ada.press('#text', 'Enter');
    await says(bob, 'typing', '');
    await says(bob, 'messages', 'ada: helloada: more');

    // Step 6.
    carryOut(steps[5]!);
    await reload();
    await says(ada, 'messages', 'ada: helloada: more');
    await gateway.stop();
    await until(() => ada.isVisible('#banner'), 'no banner');
    await say(bob, 'still here?');
    gateway = await startGateway([], { port: gateway.port });
    // The embedded engine forgot its history: ada has it only if she is back first.
    await says(bob, 'messages', 'ada: helloada: morebob: still here?');
    await until(async () => !await ada.isVisible('#banner'), 'the banner stays');
    await gateway.stop();
});

test('every TypeScript block of the guides and of the README compiles', () => {
    const folder = join(process.cwd(), 'node_modules/.docs');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    let count = 0;
    for (const file of [...readdirSync(guides).map((name) => join(guides, name)), 'README.md']) {
        for (const { language, text } of blocks(readFileSync(file, 'utf8'))) {
            if (language !== 'ts' && language !== 'tsx') { continue; }
            count += 1;
            writeFileSync(join(folder, `block${count}.${language}`), `// ${file}\n${text}\nexport {};\n`);
        }
    }
    assert.ok(count >= 10, `${count} blocks`);
    // What the text around the blocks speaks of.
    writeFileSync(join(folder, 'around.d.ts'), `
        declare const client: import('@starling/client').Client<any>;
        declare const channelToken: string;
        declare function App(): null;
        declare function getToken(): Promise<string | null>;
        declare function toast(text: string): void;
        declare function draw(key: string, value: unknown): void;
        declare function render(value: unknown): void;
        declare function apply(value: unknown): void;
        declare function show(value: unknown): void;
        declare function showViewers(value: unknown): void;
    `);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
        extends: '../../tsconfig.json',
        compilerOptions: {
            types: ['react'], noUnusedLocals: false, exactOptionalPropertyTypes: false, isolatedModules: false,
            paths: { '@starling/client': ['../../dist/index.d.ts'], '@starling/client/react': ['../../dist/react.d.ts'] },
        },
        include: [], files: readdirSync(folder).filter((name) => name !== 'tsconfig.json'),
    }));
    try {
        execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { encoding: 'utf8' });
    } catch (error) { assert.fail(String((error as { stdout: string }).stdout)); }
});

test('what an application registers types its clients and hooks', () => {
    const folder = join(process.cwd(), 'node_modules/.register');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'app.ts'), `
        import { createClient } from '@starling/client';
        import { useClient, useEvent, useLiveValue, useMessages, useOthers, usePresence } from '@starling/client/react';
        interface Channels {
            'doc:*': { message: { text: string }; presence: { name: string } };
            'board': { events: { move: { x: number } } };
            'price:*': { message: number };
        }
        declare module '@starling/client' { interface Register { channels: Channels } }
        export const text: string = createClient({ url: '' }).channel('doc:1').latest.get()!.data.text;
        useClient().channel('board').subscribe('move', ({ data }) => data.x.toFixed());
        useEvent('board', 'move', ({ data }) => data.x.toFixed());
        export const names: string[] = useOthers('doc:1', (others) => others.map((one) => one.data.name));
        export const name: string = useOthers('doc:1')[0]!.data.name;
        export const price: number | undefined = useLiveValue('price:eur', { initial: 0 });
        export const own: Date | undefined = useLiveValue<Date>('else');
        export const anything: Date = useMessages('else')[0]!.data;
        // @ts-expect-error no such field
        useMessages('doc:1')[0]!.data.nothing;
        // @ts-expect-error a document's members have names
        usePresence('doc:1', { color: 'red' });
    `);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
        extends: '../../tsconfig.json',
        compilerOptions: { types: ['react'], paths: { '@starling/client': ['../../dist/index.d.ts'], '@starling/client/react': ['../../dist/react.d.ts'] } },
        include: [], files: ['app.ts'],
    }));
    try {
        execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { encoding: 'utf8' });
    } catch (error) { assert.fail(String((error as { stdout: string }).stdout)); }
});

test('the links between the documents lead somewhere', () => {
    for (const name of readdirSync(guides)) {
        for (const [, target] of readFileSync(join(guides, name), 'utf8').matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
            assert.ok(/^https?:/.test(target!) || existsSync(join(guides, dirname(name), target!)), `${name}: ${target}`);
        }
    }
});

test('the token of the guide is taken by the gateway', async () => {
    const [first] = blocks(readFileSync(join(guides, 'tokens.md'), 'utf8'));
    const file = join(mkdtempSync(join(tmpdir(), 'starling-mint-')), 'mint.mjs');
    writeFileSync(file, first!.text);
    const { mint } = await import(file) as { mint(user: object, secret: string): string };
    const config = blocks(readFileSync(join(guides, 'tokens.md'), 'utf8')).find((one) => one.language === 'toml')!.text;
    const secret = /^ *secret = "(.*)"/m.exec(config)![1]!;
    const gateway = await startGateway([], { config });
    const ada = client(gateway.url, undefined, { token: () => mint({ id: 'ada', name: 'Ada' }, secret) });
    const doc = ada.channel('doc:1');
    doc.presence.enter();
    await doc.ready();
    assert.deepEqual(doc.presence.self!.data, { name: 'Ada' });
    done(gateway);
});

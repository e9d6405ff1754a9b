// Builds src/ and static/ into dist/, which is committed so that building the gateway needs no node.
// With --check nothing is written: it fails where dist/ is not what the sources give.
import { build } from 'esbuild';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes('--check');

const result = await build({
    absWorkingDir: here,
    entryPoints: { app: 'src/app.ts', 'app-style': 'static/app.css' },
    outdir: 'dist',
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
    charset: 'utf8',
    legalComments: 'none',
    write: false,
    logLevel: 'warning',
});

const files = new Map();
for (const file of result.outputFiles) {
    const name = file.path.endsWith('.css') ? 'app.css' : 'app.js';
    files.set(name, Buffer.from(file.contents));
}
for (const name of ['index.html', 'icon.svg']) {
    files.set(name, await readFile(join(here, 'static', name)));
}

const dist = join(here, 'dist');
await mkdir(dist, { recursive: true });
const stale = [];
for (const [name, bytes] of files) {
    const path = join(dist, name);
    const old = await readFile(path).catch(() => undefined);
    if (old !== undefined && old.equals(bytes)) { continue; }
    if (check) { stale.push(name); } else { await writeFile(path, bytes); }
}
const strays = (await readdir(dist)).filter((name) => !files.has(name));
if (check && stale.length + strays.length > 0) {
    console.error(`dist/ is out of date (${[...stale, ...strays].join(', ')}): run npm run build`);
    process.exit(1);
}

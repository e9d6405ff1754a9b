// Builds src/ and static/ into dist/, which is committed so that building the gateway needs no node.
// With --check nothing is written: it fails where dist/ is not what the sources, the client's among them, give.
import { build } from 'esbuild';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const client = join(here, '../../clients/typescript/src');
const check = process.argv.includes('--check');

const result = await build({
    absWorkingDir: here,
    entryPoints: { app: 'src/main.tsx', 'app-style': 'static/app.css' },
    outdir: 'dist',
    // The client's sources stand elsewhere, and there must be one React.
    alias: {
        '@starling/client/react': join(client, 'react.ts'),
        '@starling/client': join(client, 'index.ts'),
        react: join(here, 'node_modules/react'),
    },
    define: { 'process.env.NODE_ENV': '"production"' },
    jsx: 'automatic',
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022', 'chrome114', 'firefox125', 'safari17'],
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
    console.error(`web/demo/dist is out of date (${[...stale, ...strays].join(', ')}): npm run build --prefix web/demo`);
    process.exit(1);
}

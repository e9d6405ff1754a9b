// Bundles the tests, which are written against the sources, and runs them.
// usage: node tools/test.mjs [name ...]; NAMES=pattern runs only the tests that it fits.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const names = process.argv.slice(2);
const entries = readdirSync(join(here, 'test')).filter((name) => /\.test\.tsx?$/.test(name) && (!names.length || names.some((one) => name.startsWith(one))));
// A folder for each version of Node, so that several run at once.
const out = join(here, 'node_modules/.tests', process.version);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
    absWorkingDir: here, entryPoints: entries.map((name) => `test/${name}`), outdir: out, outExtension: { '.js': '.mjs' }, bundle: true, platform: 'node', format: 'esm',
    packages: 'external', jsx: 'automatic', target: 'node18', mangleProps: /^_/, logLevel: 'warning', sourcemap: 'inline',
});
const files = readdirSync(out).map((name) => join(out, name));
const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', '--test-concurrency=2', '--test-reporter=spec',
    ...(process.env.NAMES ? [`--test-name-pattern=${process.env.NAMES}`] : []), ...files], { cwd: here, stdio: 'inherit' });
process.exit(run.status ?? 1);

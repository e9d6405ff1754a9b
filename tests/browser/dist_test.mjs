// The embedded demo page is what its sources give: types hold, and web/demo/dist is up to date.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

if (process.argv.includes('--help')) { console.log('usage: dist_test.mjs'); process.exit(0); }
const demo = join(dirname(fileURLToPath(import.meta.url)), '../../web/demo');
const run = (...words) => spawnSync('npm', words, { cwd: demo, stdio: 'inherit' }).status === 0;

let failed = 0;
if (!existsSync(join(demo, 'node_modules/react-dom')) && !run('ci', '--no-audit', '--no-fund', '--silent')) { failed = 1; }
if (!failed && !run('run', '-s', 'check')) { failed = 1; }
console.log(`${failed ? 'FAIL ' : 'ok   '} web/demo/dist is what its sources give`);
console.log(`${1 - failed} passed, ${failed} failed`);
process.exitCode = failed;

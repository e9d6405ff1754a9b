// Writes docs/reference/typescript out of the types; with --check nothing is written, and it fails where
// the pages are not what the types give.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const pages = join(here, '../../docs/reference/typescript');
const check = process.argv.includes('--check');
const out = check ? mkdtempSync(join(tmpdir(), 'starling-reference-')) : pages;
execFileSync(process.execPath, [join(here, 'node_modules/typedoc/bin/typedoc'), '--out', out, '--logLevel', 'Warn', '--treatWarningsAsErrors'],
             { cwd: here, stdio: 'inherit' });
if (check) {
    const read = (folder) => readdirSync(folder).sort().map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
    const same = JSON.stringify(read(out)) === JSON.stringify(read(pages));
    rmSync(out, { recursive: true });
    if (!same) {
        console.error('docs/reference/typescript is out of date: node tools/reference.mjs');
        process.exit(1);
    }
}

// Builds dist/: each entry as ESM and CJS, and the declarations of the public files for both.
// Names that begin with an underscore are the package's own, and are shortened; nothing else is minified.
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(here, 'dist');
const kPublic = ['index', 'react', 'client', 'api', 'types', 'error'];

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
for (const [format, ending] of [['esm', '.js'], ['cjs', '.cjs']]) {
    await build({
        absWorkingDir: here,
        entryPoints: ['src/index.ts', 'src/react.ts'],
        outdir: 'dist',
        outExtension: { '.js': ending },
        bundle: true,
        external: ['react'],
        format,
        target: ['es2022'],
        charset: 'utf8',
        mangleProps: /^_/,
        legalComments: 'none',
        logLevel: 'warning',
    });
}

const declared = join(dist, 'types');
execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here, '--noEmit', 'false', '--declaration',
                                '--emitDeclarationOnly', '--outDir', declared], { stdio: 'inherit' });
for (const name of kPublic) {
    const text = await readFile(join(declared, `${name}.d.ts`), 'utf8');
    for (const [ending, script] of [['.d.ts', '.js'], ['.d.cts', '.cjs']]) {
        await writeFile(join(dist, name + ending), text.replace(/(from '\.\/\w+)'/g, `$1${script}'`));
    }
}
await rm(declared, { recursive: true });
await copyFile(join(here, '../../LICENSE'), join(dist, '../LICENSE'));

// What the package costs a page, in KB of 1,000 bytes: minified by esbuild, gzipped, React not counted. Fails past the limits.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const measured = [
    ['core', 6, `export { createClient } from './dist/index.js';`],
    ['with React', 8, `export { createClient } from './dist/index.js'; export { StarlingProvider, useConnection, useMessages, usePresence } from './dist/react.js';`],
    ['all', 9.5, `export * from './dist/index.js'; export * from './dist/react.js';`],
];
for (const [name, limit, contents] of measured) {
    const result = await build({
        absWorkingDir: here, stdin: { contents, resolveDir: here }, bundle: true, minify: true, format: 'esm', target: 'es2022',
        external: ['react'], write: false, legalComments: 'none',
    });
    const bytes = gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
    const ok = bytes <= limit * 1000;
    console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${bytes} bytes gzip, at most ${limit * 1000}`);
    if (!ok) { process.exitCode = 1; }
}

// The built package in a program of the Node that runs this test, by import and by require.
// Before version 22 there is no WebSocket but the one that is passed.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { done, startGateway } from './process';

const kHere = process.cwd();
const kForms = {
    import: ['--input-type=module', '-e', `import { createClient } from ${JSON.stringify(`${kHere}/dist/index.js`)}; import WebSocket from 'ws';`],
    require: ['--input-type=commonjs', '-e', `const { createClient } = require(${JSON.stringify(`${kHere}/dist/index.cjs`)}); const WebSocket = require('ws');`],
};
const hasOwn = typeof (globalThis as any).WebSocket === 'function';

function run(form: keyof typeof kForms, program: string): string {
    const words = [...kForms[form]];
    words.push(words.pop() + program);
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: kHere, timeout: 60_000, encoding: 'utf8' });
    assert.equal(status, 0, `it ended with ${status}: ${stderr}`);
    return stdout.trim();
}

const told = (url: string, more: string): string => `
    const client = createClient({ url: ${JSON.stringify(url)}, user: 'ada'${more} });
    const doc = client.channel('doc:1');
    doc.presence.enter({ name: 'Ada' });
    doc.subscribe((message) => console.log(doc.presence.members[0].data.name, message.data));
    doc.ready().then(() => doc.publish('hello')).then(() => client.close());`;

for (const form of ['import', 'require'] as const) {
    test(`by ${form}, with the class of ws: it is heard, and the program ends by itself`, async () => {
        const gateway = await startGateway();
        assert.equal(run(form, told(gateway.url, ', WebSocket')), 'Ada hello');
        done(gateway);
    });

    test(`by ${form}, with nothing passed: ${hasOwn ? 'the WebSocket of Node is taken' : 'the error says what to pass'}`, async () => {
        const gateway = await startGateway();
        if (hasOwn) {
            assert.equal(run(form, told(gateway.url, '')), 'Ada hello');
        } else {
            const words = run(form, `
                createClient({ url: ${JSON.stringify(gateway.url)}, user: 'ada' }).channel('doc:1').publish('hello')
                    .catch((error) => console.log(error.code, error.retryable, error.help, error.message));`);
            assert.match(words, /^ended false \S+#ended .*pass/);
        }
        done(gateway);
    });
}

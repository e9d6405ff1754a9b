// docs/reference/asyncapi.json against tests/vectors/native.json and docs/PROTOCOL.md: every frame that the gateway
// takes or writes fits its message, what it refuses for its shape does not, and every frame type has a message.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv/dist/2020.js';
import { Count, expect } from './gateway.mjs';

if (process.argv.includes('--help')) { console.log('usage: asyncapi_test.mjs'); process.exit(0); }
const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const read = (path) => readFileSync(join(root, path), 'utf8');
const api = JSON.parse(read('docs/reference/asyncapi.json'));
const vectors = JSON.parse(read('tests/vectors/native.json'));
const protocol = read('docs/PROTOCOL.md');
const messages = Object.entries(api.components.messages);

const ajv = new Ajv({ strict: false, allErrors: false });
ajv.addSchema({ $id: 'api', components: { schemas: api.components.schemas } });
const absolute = (value) => JSON.parse(JSON.stringify(value).replaceAll('"#/components/', '"api#/components/'));
const validators = new Map(messages.map(([key, { payload }]) => [key, ajv.compile(absolute(payload))]));

function validator(side, type) {
    const found = messages.find(([key, { name }]) => key.startsWith(side) && name === type);
    return found && validators.get(found[0]);
}

const count = new Count();
for (const side of ['client', 'server']) {
    for (const { name, text, error } of vectors[side]) {
        if (error === undefined) {
            await count.test(`${side}: ${name}`, () => {
                const frame = JSON.parse(text);
                const check = validator(side, frame.type);
                expect(check !== undefined, `there is no message for ${frame.type}`);
                expect(check(frame), `${text}: ${ajv.errorsText(check?.errors)}`);
            });
        // Bytes, depth, a key twice, half a surrogate and `1.0` are not a schema's to see.
        } else if (error.code === 'bad_request' && !/^frame|deeper|^type/.test(error.message) && !/\\ud800|\[\[\[|:1\.0}/.test(text)) {
            await count.test(`${side} refused: ${name.slice(0, 80)}`, () => {
                const frame = JSON.parse(text);
                expect(!validator(side, frame.type)(frame), `${text.slice(0, 200)} fits`);
            });
        }
    }
}

for (const [side, title] of [['client', 'Client frames'], ['server', 'Server frames']]) {
    const section = protocol.split(/^## /m).find((one) => one.startsWith(title)) ?? '';
    const types = [...section.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`([^`]+)`/g)].map(([, type]) => type));
    await count.test(`${title}: every type of docs/PROTOCOL.md has a message`, () => {
        expect(types.length >= 10, `found only ${types}`);
        const missing = types.filter((type) => validator(side, type) === undefined);
        expect(missing.length === 0, `without a message: ${missing}`);
    });
    await count.test(`${title}: the fields of the table are the message's`, () => {
        for (const [, cell, fields] of section.matchAll(/^\| (`[^|]*`) \| ([^|]*) \|/gm)) {
            const names = [...fields.replace(/\([^)]*\)|\{[^}]*\}/g, '').matchAll(/`([A-Za-z]+)\??`/g)].map(([, field]) => field);
            for (const [, type] of cell.matchAll(/`([^`]+)`/g)) {
                const { payload } = messages.find(([key, { name }]) => key.startsWith(side) && name === type)[1];
                const missing = names.filter((field) => !(field in payload.properties));
                expect(missing.length === 0, `${type} lacks ${missing}`);
            }
        }
    });
}
await count.test('every reference leads somewhere', () => {
    const walk = (value) => {
        if (value === null || typeof value !== 'object') { return; }
        if (typeof value.$ref === 'string') {
            const found = value.$ref.slice(2).split('/').reduce((at, step) => at?.[step], api);
            expect(found !== undefined, value.$ref);
        }
        Object.values(value).forEach(walk);
    };
    walk(api);
});
count.end();

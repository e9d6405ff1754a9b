// A node of the next wire version, made of one of this version: a proxy between it and Redis rewrites its scripts, so that they
// announce, keep and answer what a later version might. The scripts come from the sources; a script keeps its size (indentation
// makes room), so that no length on the wire changes, and goes by the digest of its new text.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const engine = join(dirname(fileURLToPath(import.meta.url)), '../../src/engine');
const source = ['scripts_parts.h', 'scripts.cpp', 'scripts_log.cpp'].map((file) => readFileSync(join(engine, file), 'utf8')).join('');
const sha = (text) => createHash('sha1').update(text).digest('hex');

const changes = [
    // A field at the end of a message, and a payload of a kind that is not known yet before it.
    ["call(pub, B..'c:'..ch, 'M'..f(e)..f(o)..f(before)..f(id)..f(body)..f(except))",
     "call(pub,B..'c:'..ch,'Z'..f(e))call(pub,B..'c:'..ch,'M'..f(e)..f(o)..f(before)..f(id)..f(body)..f(except)..f('new'))"],
    // An operation of a further kind in each delta.
    ["if #out > 0 then\n", "if #out > 0 then tell('z', 'new', 'field')\n"],
    // A field in the lease.
    ["call('HSET', L, 'o', ARGV[3], 's', state)", "call('HSET', L, 'o', ARGV[3], 's', state, 'z', 'new')"],
    ["'c', ARGV[3], 'd', '0')", "'c', ARGV[3], 'd', '0', 'z', 'new')"],
];

function scripts() {
    const parts = new Map([...source.matchAll(/constexpr const char\* (k\w+) = R"lua\(([\s\S]*?)\)lua"/g)].map(([, name, text]) => [name, text]));
    return [...source.matchAll(/make\("\w+", \{([^}]*)\}\)/g)].map(([, names]) => names.split(', ').map((name) => parts.get(name)).join(''));
}

function renew(text) {
    let next = text;
    for (const [from, to] of changes) next = next.replace(from, () => to);
    while (Buffer.byteLength(next) > Buffer.byteLength(text)) {
        const shorter = next.replace('\n  ', '\n');
        if (shorter === next) throw new Error('no room left in a script');
        next = shorter;
    }
    return next + ' '.repeat(text.length - next.length);
}

// Gives a function for a Proxy: what the node writes, as the next version would.
export function nextVersion(constants) {
    const pairs = [];
    for (const text of scripts()) {
        const next = renew(text);
        if (next === text) continue;
        pairs.push([text, next], [sha(text), sha(next)]);
    }
    if (pairs.length < 4) throw new Error('the scripts were not found in the sources');
    pairs.push([`/${constants.lease}/${constants.linger}/2\r\n`, `/${constants.lease}/${constants.linger}/3\r\n`]);
    return (bytes) => {
        let text = bytes.toString('latin1');
        for (const [from, to] of pairs) text = text.replaceAll(from, () => to);
        return Buffer.from(text, 'latin1');
    };
}

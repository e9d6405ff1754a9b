// Runs each program of docs/guides/backends.md, as it stands there, against a gateway that takes nobody on trust.
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import WebSocket from 'ws';
import { Count, expect, start_gateway } from './gateway.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({ options: {
    binary: { type: 'string', default: join(here, '../../build/release/starling') },
} });

const kLanguages = {
    Node: { fence: 'js', file: 'main.mjs', run: ['node'], needs: ['node'] },
    Python: { fence: 'python', file: 'main.py', run: ['python3'], needs: ['python3'] },
    PHP: { fence: 'php', file: 'main.php', run: ['php'], needs: ['php'] },
    Go: { fence: 'go', file: 'main.go', build: ['go', 'build', '-o', 'program', 'main.go'], run: ['./program'], needs: ['go'] },
    Ruby: { fence: 'ruby', file: 'main.rb', run: ['ruby'], needs: ['ruby'] },
    curl: { fence: 'sh', file: 'main.sh', run: ['sh'], needs: ['curl', 'openssl'] },
};
const kSecret = 'a secret of at least thirty-two bytes, for tests';
const execute = promisify(execFile);
const present = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

const folder = mkdtempSync(join(tmpdir(), 'starling-backends-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'starling.toml'), `
[[apps]]
id = "default"
api_keys = ["backend-key"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "${kSecret}"
  [[apps.namespaces]]
  name = "doc"
  history = { size = 100, ttl_s = 600 }
`);
const gateway = await start_gateway(options.binary, ['--config', join(folder, 'starling.toml')]);
const guide = readFileSync(join(here, '../../docs/guides/backends.md'), 'utf8');

// Connects with the token and enters the document; whoever refuses says why.
function enter(token) {
    return new Promise((resolve, reject) => {
        const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/ws`);
        const timer = setTimeout(() => reject(new Error('no answer to the token')), 20_000);
        socket.on('open', () => {
            socket.send(JSON.stringify({ type: 'connect', id: 1, token }));
            socket.send(JSON.stringify({ type: 'subscribe', id: 2, channel: 'doc:42', presence: true }));
        });
        const frames = [];
        socket.on('message', (text) => {
            const frame = JSON.parse(text);
            frames.push(frame);
            if (frame.type === 'error') { reject(new Error(text)); }
            if (frame.type === 'subscribed') { clearTimeout(timer); resolve({ socket, frames }); }
        });
        socket.on('error', reject);
    });
}

async function ask(path) {
    const answer = await fetch(gateway.url + path, { headers: { Authorization: 'Bearer backend-key' } });
    return answer.json();
}

const count = new Count();
for (const [language, { fence, file, build, run, needs }] of Object.entries(kLanguages)) {
    const section = guide.split(/^## /m).find((one) => one.startsWith(`${language}\n`)) ?? '';
    const program = new RegExp(`^\`\`\`${fence}\n(.*?)^\`\`\``, 'ms').exec(section)?.[1];
    const missing = needs.filter((one) => !present(one));
    if (program !== undefined && missing.length > 0) {
        count.skip(language, `there is no ${missing.join(', ')} here`);
        continue;
    }
    await count.test(language, async () => {
        expect(program !== undefined, 'the guide has no program for it');
        const path = join(folder, file);
        writeFileSync(path, program);
        if (build !== undefined) { await execute(build[0], build.slice(1), { cwd: folder, timeout: 600_000 }); }
        const play = async () => {
            const { stdout } = await execute(run[0], [...run.slice(1), path], {
                cwd: folder, timeout: 60_000,
                env: { ...process.env, STARLING_URL: gateway.url, STARLING_API_KEY: 'backend-key', STARLING_TOKEN_SECRET: kSecret },
            });
            const lines = stdout.trim().split('\n');
            expect(lines.length === 4, `it should print four lines: ${stdout}`);
            return lines;
        };
        const [token, message, notification, before] = await play();
        expect(before === '0', `nobody is there yet, it says ${before}`);
        const { messages } = await ask('/v1/channels/doc:42/messages?limit=1&reverse=true');
        expect(messages[0].id === message && messages[0].event === 'saved' && messages[0].data.by === 'ada', `published: ${JSON.stringify(messages)}`);
        const { socket, frames } = await enter(token);
        const [connected] = frames;
        expect(connected.userId === 'ada', `the token is for ${connected.userId}`);
        const notes = connected.notifications.messages;
        expect(notes.at(-1).id === notification && notes.at(-1).data.title === 'Saved', `notified: ${JSON.stringify(notes)}`);
        const [, , , after] = await play();
        expect(after === '1', `ada is there, it says ${after}`);
        // Tells the others that ada is gone: a farewell, so the next language finds nobody.
        await new Promise((resolve) => { socket.on('close', resolve); socket.close(1000); });
        for (let tries = 0; (await ask('/v1/channels/doc:42/presence/count')).count > 0; tries += 1) {
            expect(tries < 500, 'ada did not leave');
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    });
}
gateway.stop();
count.end();

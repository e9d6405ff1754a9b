// A gateway on free ports, a program that runs beside it, and a count of what passed.
import { spawn } from 'node:child_process';

export const kPatienceMs = 30_000;

// Starts a program that says where it listens, and waits for it.
export async function start(command, words, env = {}) {
    const child = spawn(command, words, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const address = await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${command} named no address: ${output}`)), kPatienceMs);
        const look = (chunk) => {
            output += chunk;
            const line = output.split('\n').find((one) => !/admin/i.test(one) && /127\.0\.0\.1:[1-9]\d*/.test(one));
            if (line !== undefined) { clearTimeout(timer); resolve(/127\.0\.0\.1:\d+/.exec(line)[0]); }
        };
        child.stdout.on('data', look);
        child.stderr.on('data', look);
        child.once('error', reject);
        child.once('exit', (code) => reject(new Error(`${command} ended with ${code}: ${output}`)));
    });
    process.once('exit', () => child.kill('SIGKILL'));
    return { url: `http://${address}`, stop: () => child.kill('SIGKILL') };
}

export const start_gateway = (binary, words) =>
    start(binary, ['serve', ...words, '--server.listen', '127.0.0.1:0', '--server.admin', '127.0.0.1:0', '--server.shards', '1']);

export async function until(condition, complaint) {
    const end = Date.now() + kPatienceMs;
    for (;;) {
        const value = await condition();
        if (value) { return value; }
        if (Date.now() > end) { throw new Error(complaint); }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

export function expect(condition, text) { if (!condition) { throw new Error(text); } }

export class Count {
    passed = 0;
    failed = 0;
    skipped = 0;

    async test(name, run) {
        try {
            await run();
            this.passed += 1;
            console.log(`ok    ${name}`);
        } catch (error) {
            this.failed += 1;
            console.log(`FAIL  ${name}\n      ${error?.stack ?? error}`);
        }
    }

    skip(name, why) {
        this.skipped += 1;
        console.log(`skip  ${name}: ${why}`);
    }

    end() {
        console.log(`${this.passed} passed, ${this.failed} failed${this.skipped ? `, ${this.skipped} skipped` : ''}`);
        process.exit(this.failed ? 1 : 0);
    }
}

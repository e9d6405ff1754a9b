// How a fault is told: on which forms of Redis, how often, by whom; and what the command line of every suite here takes.
import { readFileSync, readdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { alone, assert, option, pause } from '../protocol/harness.mjs';
import { Cluster, Redis, Topology } from './cluster.mjs';

const flag = (name) => process.argv.includes(`--${name}`);

const repeat = Number(option('repeat', '1'));
const forms = option('form', 'standalone').split(',');
const shards = Number(option('shards', '2'));
export const everywhere = ['standalone', 'sentinel', 'cluster'];
// The sizes of the figures to reach; without it what fits into every run.
export const large = flag('large');

export function usage(name) {
    if (!flag('help')) return;
    console.log(`usage: ${name} [--binary PATH] [--form standalone,sentinel,cluster] [--only TEXT] [--repeat N] [--shards N]
    [--all] [--large] [--default-constants] [--test-timeout MS]
  --all                the long stories too
  --large              with the full number of clients, and for minutes
  --default-constants  heartbeat, lease and linger as configured by default`);
    process.exit(0);
}

// What a story began and did not wait for ends with its cluster, after the story has failed; before, it is a failure of its own.
let strays = [];
let current;
process.on('unhandledRejection', (error) => {
    if (!error.cluster || error.cluster === current) strays.push(error.message);
});

// How long the thread of this process that waited longest was ready to run, and did not.
function waited(pid) {
    try {
        const delays = readdirSync(`/proc/${pid}/task`).map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[1]));
        return Math.max(...delays) / 1e6;
    } catch {
        return NaN;                          // It is gone.
    }
}

// How late this process was for its own timer, and with it, as a rule, the nodes and Redis: for whoever looks into a failure on a
// crowded machine.
function lateness() {
    const every = 20;
    let worst = 0;
    let before = performance.now();
    const timer = setInterval(() => {
        const now = performance.now();
        worst = Math.max(worst, now - before - every);
        before = now;
    }, every);
    const told = (nodes) => {
        const waits = nodes.filter((node) => !node.down).map((node) => `${waited(node.child.pid).toFixed(0)} ms`);
        return ` [own timer late by ${worst.toFixed(0)} ms, nodes waited for a core ${waits}, load ${loadavg()[0].toFixed(0)}]`;
    };
    return { told, end: () => clearInterval(timer) };
}

// `on`: the forms of Redis where the story can be told. `between`: it uses `cluster.proxies`, which only `standalone` always has.
// `long`: only with --all, or where --only names it. `redis`: how it is started, where that matters.
export function fault(name, story, { nodes = 3, on = ['standalone'], flags = [], long = false, redis: start, timeout, prepare, options, between } = {}) {
    const chosen = option('only', '');
    if (long && !flag('all') && !(chosen && name.includes(chosen))) return;
    for (const form of forms.filter((f) => on.includes(f))) {
        for (let n = 1; n <= repeat; n += 1) {
            alone(`${form}: ${name}${repeat > 1 ? ` (${n})` : ''}`, async () => {
                const watch = lateness();
                strays = [];
                const redis = await (start ? start(form) : form === 'standalone' ? Redis.start() : Topology.start(form));
                const cluster = new Cluster(redis);
                current = cluster;
                try {
                    await cluster.start({ nodes, shards, flags, prepare, options, between });
                    await story(cluster);
                    cluster.check();
                    assert.deepEqual(strays, [], 'nothing failed aside');
                } catch (error) {
                    error.message += watch.told(cluster.nodes);
                    // Starved sentinels take a living primary for dead.
                    if (form === 'sentinel' && (await redis.say('primary')).port !== redis.servers[0].port) error.message += ' [another primary]';
                    throw error;
                } finally {
                    watch.end();
                    await cluster.stop();
                }
            }, timeout);
        }
    }
}

// A figure of the story that runs, for whoever keeps results.
export const note = (text) => console.log(`  note ${text}`);

export const room = 'doc:1';

// `count` watchers that stay, one a node in turn, then members that the story plays with.
export async function crowd(cluster, { watchers = cluster.nodes.length, members = [] } = {}) {
    const stay = [];
    for (let i = 0; i < watchers; i += 1) {
        stay.push(await cluster.person(`watch${i}`, { channels: [room], node: i % cluster.nodes.length }));
    }
    const play = [];
    for (const [user, node, options] of members) play.push(await cluster.person(user, { channels: [room], node, ...options }));
    await cluster.agree(room, cluster.people.map((p) => p.user));
    return { stay, play, since: Date.now() };
}

export const events = (people, since) => people.flatMap((p) => p.rooms.get(room).events.filter((e) => e.at > since).map((e) => `${p.user}: ${e.kind} ${e.user}`));

// Someone speaks without a pause until told to end; answers what was acknowledged.
export function speak(person, { channel = room, every = 0, tries = 300 } = {}) {
    const published = [];
    let going = true;
    const done = (async () => {
        while (going) {
            published.push(await person.publish(channel, published.length, { tries }));
            if (every) await pause(every);
        }
    })();
    return {
        published,
        end: async () => {
            going = false;
            await done;
            return published;
        },
    };
}

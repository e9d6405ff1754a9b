// Between one node and a Redis of several servers: a proxy for each of them, and the answers name the proxies instead of the servers
// (CLUSTER SLOTS, MOVED, what a sentinel says), so that the node finds no way around. To be used as one Proxy is.
import { assert } from '../protocol/harness.mjs';
import { Proxy } from './proxy.mjs';

export class Ways {
    // `url`: how the servers are named to a node that nothing stands before.
    static async start(servers, url) {
        const ways = new Ways();
        ways.proxies = [];
        const ports = new Map();
        for (const { port } of servers) {
            const proxy = await Proxy.start(port);
            ways.proxies.push(proxy);
            const own = proxy.address.split(':')[1];
            // An answer keeps its length, whatever counts its bytes.
            assert.equal(own.length, String(port).length);
            ports.set(String(port), own);
        }
        const readdress = (text) => text.replace(/(?<![0-9])[0-9]{4,5}(?![0-9])/g, (digits) => ports.get(digits) ?? digits);
        for (const proxy of ways.proxies) {
            proxy.readdress = (bytes) => (bytes.includes('127.0.0.1') ? Buffer.from(readdress(bytes.toString('latin1')), 'latin1') : bytes);
        }
        ways.url = readdress(url);
        return ways;
    }

    set rewrite(how) {
        for (const proxy of this.proxies) proxy.rewrite = how;
    }

    set cutChance(chance) {
        for (const proxy of this.proxies) proxy.cutChance = chance;
    }

    set cutReplies(count) {
        for (const proxy of this.proxies) proxy.cutReplies = count;
    }

    inject(fault) {
        for (const proxy of this.proxies) proxy.inject(fault);
    }

    piped(label) {
        return this.proxies.flatMap((proxy) => proxy.piped(label));
    }

    cut(how) {
        for (const proxy of this.proxies) proxy.cut(how);
    }

    heal() {
        for (const proxy of this.proxies) proxy.heal();
    }

    stop() {
        for (const proxy of this.proxies) proxy.stop();
    }
}

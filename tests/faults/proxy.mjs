// A TCP proxy that misbehaves on demand: between a node and its Redis, or a client and its node. Each pair of sockets
// is a `Pipe` labelled by what goes through it, so that a fault can hit the pub/sub connection alone (`pubsub`; what listens to a
// sentinel is `events`), or those of a primary's replicas and sentinels (`peers`), or those of one server of a cluster to the others (its id).
import { createConnection, createServer } from 'node:net';

class Pipe {
    constructor(proxy, client) {
        this.proxy = proxy;
        this.client = client;
        this.label = 'commands';
        this.server = createConnection(proxy.port, proxy.host);
        this.held = { up: [], down: [] };
        client.setNoDelay(true);
        this.server.setNoDelay(true);
        this.pump(client, this.server, 'up');
        this.pump(this.server, client, 'down');
    }

    pump(from, to, way) {
        from.on('data', (whole) => {
            const change = way === 'up' ? this.proxy.rewrite : this.proxy.readdress;
            const bytes = change ? change(whole) : whole;
            if (way === 'up' && bytes.toString('latin1', 0, 4) === 'RCmb') this.label = bytes.toString('latin1', 40, 80);
            else if (way === 'up' && /sentinel-|\r\nreplconf\r\n|\r\npsync\r\n/i.test(bytes.toString('latin1'))) this.label = 'peers';
            else if (way === 'up' && bytes.includes('+switch-master')) this.label = 'events';
            else if (way === 'up' && this.label === 'commands' && /\$\d+\r\n[sp]?subscribe\r\n/i.test(bytes.toString('latin1'))) this.label = 'pubsub';
            const fault = this.proxy.faultOf(this, way);
            if (fault === 'drop') return;
            if (fault === 'hold') {
                this.held[way].push(bytes);
                return;
            }
            if (way === 'down' && this.proxy.cutReplies > 0 && this.label === 'commands' && Math.random() < this.proxy.cutChance) {
                // The server has run it; its answer is never heard.
                this.proxy.cutReplies -= 1;
                this.end();
                return;
            }
            const send = () => {
                if (to.destroyed) return;
                if (this.proxy.chop) {
                    for (const byte of bytes) to.write(Buffer.from([byte]));
                } else {
                    to.write(bytes);
                }
            };
            if (this.proxy.delayMs > 0) setTimeout(send, this.proxy.delayMs);
            else send();
        });
        from.on('error', () => this.end());
        from.on('close', () => {
            if (this.proxy.faultOf(this, way) === undefined) this.end();
        });
    }

    release(way) {
        const to = way === 'up' ? this.server : this.client;
        for (const bytes of this.held[way].splice(0)) if (!to.destroyed) to.write(bytes);
    }

    end() {
        this.client.destroy();
        this.server.destroy();
        this.proxy.pipes.delete(this);
    }
}

export class Proxy {
    static async start(port, host = '127.0.0.1') {
        const proxy = new Proxy();
        proxy.port = port;
        proxy.host = host;
        proxy.pipes = new Set();
        proxy.faults = [];
        proxy.delayMs = 0;
        proxy.chop = false;
        proxy.cutReplies = 0;
        proxy.cutChance = 0;
        proxy.refuse = false;
        proxy.rewrite = undefined;           // What a node says, as if another had said it.
        proxy.readdress = undefined;         // What it is answered.
        proxy.listener = createServer((client) => {
            if (proxy.refuse) {
                client.destroy();
                return;
            }
            proxy.pipes.add(new Pipe(proxy, client));
        });
        await new Promise((done) => proxy.listener.listen(0, '127.0.0.1', done));
        proxy.address = `127.0.0.1:${proxy.listener.address().port}`;
        return proxy;
    }

    faultOf(pipe, way) {
        return this.faults.find((f) => (f.label ?? pipe.label) === pipe.label && (f.way ?? way) === way && (f.pipes?.has(pipe) ?? true))?.kind;
    }

    // kind: 'hold' (bytes wait, both ends stay open) or 'drop' (bytes vanish); label, way: all where absent; `lasting: false`: those
    // that come later are well.
    inject({ lasting = true, ...fault }) {
        this.faults.push(lasting ? fault : { ...fault, pipes: new Set(this.pipes) });
    }

    piped(label) {
        return [...this.pipes].filter((pipe) => pipe.label === label);
    }

    heal() {
        this.faults = [];
        this.delayMs = 0;
        this.chop = false;
        this.refuse = false;
        this.cutReplies = 0;
        for (const pipe of [...this.pipes]) {
            pipe.release('up');
            pipe.release('down');
            // Who hung up meanwhile was not told of to the other side.
            if (pipe.client.destroyed || pipe.server.destroyed) pipe.end();
        }
    }

    // Every connection ends at once; new ones are refused until heal().
    cut({ label, refuse = true } = {}) {
        this.refuse = refuse;
        for (const pipe of [...this.pipes]) if (!label || pipe.label === label) pipe.end();
    }

    stop() {
        this.cut();
        this.listener.close();
    }
}

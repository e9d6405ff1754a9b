// The whole client, shell included, on virtual time with the gateway of sim.ts.
import { createClient, type Client, type ClientOptions } from '../src/index';
import { Cable, Gateway, Time, type Json } from './sim';

export class Lab {
    time = new Time();
    gateway: Gateway;
    cables: Cable[] = [];
    sent: Json[] = [];
    timers = 0;

    constructor(kind?: (channel: string) => 'history' | 'plain' | 'latest') { this.gateway = new Gateway(this.time, kind); }

    client<M = any>(options: Partial<ClientOptions> = {}): Client<M> {
        return createClient<M>({
            url: 'http://gateway.test', ...(options.token === undefined && { user: 'ada' }), random: () => 0.5,
            clock: {
                now: () => this.time.now,
                setTimeout: (run, ms) => { this.timers += 1; return this.time.at(ms, () => { this.timers -= 1; run(); }); },
                clearTimeout: (timer) => { if (timer && (this.time as any).queue.includes(timer)) { this.timers -= 1; this.time.cancel(timer); } },
            },
            transport: (_, on) => {
                const cable = new Cable(this.time, this.gateway, () => 5, {
                    open: on.open, frame: (frame) => on.text(JSON.stringify(frame)), closed: on.close,
                });
                this.cables.push(cable);
                return { send: (text) => { const frame = JSON.parse(text); this.sent.push(frame); cable.send(frame); }, close: () => cable.close() };
            },
            ...options,
        });
    }

    // Promises run between the moments of virtual time.
    async run(ms: number): Promise<void> {
        const end = this.time.now + ms;
        do { await settle(); } while (this.time.turn(end));
        await settle();
    }
    frames(type: string): Json[] { return this.sent.filter((frame) => frame.type === type); }
    lose(code = 1006): void { for (const cable of this.cables) { cable.lose(code); } }
}

export const settle = (): Promise<void> => new Promise((done) => { setImmediate(done); });

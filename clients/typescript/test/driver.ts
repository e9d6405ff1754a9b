// Drives the machine alone on virtual time: no promises, no timers, so a seed gives one run.
import { due, initial, step } from '../src/machine';
import { Do, Ev, type Command, type Event, type State } from '../src/machine_types';
import { Cable, Gateway, Time, type Json } from './sim';

export class Driver {
    state: State;
    seen: { channel: string; name: string; value: Json }[] = [];
    settled = new Map<number, { value: Json; fault: Json }>();
    opens = 0;
    sent: Json[] = [];
    cables = new Map<number, Cable>();
    delay = (): number => 5;
    refusing = false;
    pure = false;
    private timer: Json;
    private waiting: Event[] = [];
    private busy = false;
    private handles = 0;

    constructor(readonly time: Time, readonly gateway: Gateway, readonly user = 'ada', settings: Json = {}) {
        this.state = initial({ _fresh: false, _queue: 100, _publishTimeout: 60_000, _lostAfter: 5_000, _linger: 1_000, _random: 0.5, ...settings });
    }

    dispatch(event: Event): void {
        this.waiting.push(event);
        if (this.busy) { return; }
        this.busy = true;
        for (let next; (next = this.waiting.shift());) {
            const before = this.pure ? picture(this.state) : '';
            const old = this.state;
            const [after, commands] = step(old, next, this.time.now);
            if (this.pure) {
                if (picture(old) !== before) { throw new Error(`step changed its state on ${JSON.stringify(next)}`); }
                const again = step(old, next, this.time.now);
                if (picture(again) !== picture([after, commands])) { throw new Error('the same step gave something else'); }
            }
            this.state = after;
            commands.forEach((command) => this.perform(command));
        }
        this.busy = false;
        this.time.cancel(this.timer);
        const at = due(this.state);
        if (at < Infinity) { this.timer = this.time.at(at - this.time.now, () => this.dispatch({ _t: Ev.Tick })); }
    }

    private perform(c: Command): void {
        const id = c[1] as number;
        switch (c[0]) {
            case Do.Open:
                this.opens += 1;
                this.cables.set(id, new Cable(this.time, this.gateway, () => this.delay(), {
                    open: () => this.dispatch({ _t: Ev.Opened, _link: id, _auth: { user: this.user } }),
                    frame: (frame) => this.dispatch({ _t: Ev.Frame, _link: id, _frame: frame }),
                    closed: (code, reason) => { this.cables.delete(id); this.dispatch({ _t: Ev.Closed, _link: id, _code: code, _reason: reason }); },
                }));
                break;
            case Do.Send: {
                const frame = JSON.parse(JSON.stringify(c[2]));
                this.sent.push(frame);
                this.cables.get(id)?.send(frame);
                break;
            }
            case Do.Close: this.cables.get(id)?.close(); this.cables.delete(id); break;
            case Do.Token: this.dispatch({ _t: Ev.Token, _token: 'fresh' }); break;
            case Do.Settle:
                if (this.settled.has(id)) { throw new Error('a promise was settled twice'); }
                this.settled.set(id, c[3] ? { value: undefined, fault: c[2] } : { value: c[2], fault: undefined });
                break;
            case Do.Emit: this.seen.push({ channel: c[1], name: c[2], value: c[3] });
        }
    }

    tick(): void { this.dispatch({ _t: Ev.Tick }); }
    subscribe(channel: string, options?: Json): void { this.dispatch({ _t: Ev.Retain, _channel: channel, _by: 1, _options: options }); this.tick(); }
    release(channel: string): void { this.dispatch({ _t: Ev.Retain, _channel: channel, _by: -1 }); this.tick(); }
    enter(channel: string, data?: Json): void { this.dispatch({ _t: Ev.Enter, _channel: channel, _by: 1, _data: data }); this.tick(); }
    update(channel: string, data?: Json): void { this.dispatch({ _t: Ev.Enter, _channel: channel, _by: 0, _data: data }); this.tick(); }
    publish(channel: string, data: Json, more: Json = {}): number {
        const handle = ++this.handles;
        this.dispatch({ _t: Ev.Request, _handle: handle, _frame: { type: 'publish', channel, data, key: `k${handle}`, ...more } });
        return handle;
    }
    request(frame: Json): number {
        const handle = ++this.handles;
        this.dispatch({ _t: Ev.Request, _handle: handle, _frame: frame });
        return handle;
    }
    lose(code = 1006): void { for (const cable of [...this.cables.values()]) { cable.lose(code); } }
    kill(): void { for (const cable of this.cables.values()) { cable.kill(); } }

    of(name: string, channel = ''): Json[] { return this.seen.filter((one) => one.name === name && one.channel === channel).map((one) => one.value); }
    frames(type: string): Json[] { return this.sent.filter((frame) => frame.type === type); }
    get name(): string { return this.state._view.state; }
}

// A state as text, maps included, so that two can be compared.
function picture(value: unknown): string {
    return JSON.stringify(value, (_, one) => one instanceof Map ? { map: [...one] } : one === Infinity ? 'inf' : one === undefined ? 'undef' : one);
}

// One client, its gateway and the time they share; the machine must leave its input as it was.
export function world(kind?: (channel: string) => 'history' | 'plain' | 'latest', settings: Json = {}): { time: Time; gateway: Gateway; ada: Driver } {
    const time = new Time();
    const gateway = new Gateway(time, kind);
    const ada = new Driver(time, gateway, 'ada', settings);
    ada.pure = true;
    return { time, gateway, ada };
}

// The dashboard tile, fed by a server through the HTTP API, and the numbers of this connection.
import type { Client } from './client';
import type { Message } from './protocol';
import { curl_line } from './bell';
import { as_text, by_id, element, field, set_text, time_text } from './dom';
import { post } from './page';

const kPoints = 40;
const kLogLines = 4;
const kRateWindowS = 5;

export class Tile {
    private readonly log = by_id('tile-log');
    private readonly spark = by_id<SVGElement>('spark');
    private readonly seen_ids = new Set<string>();
    private values: number[] = [];

    constructor(private readonly client: Client, private readonly channel: string) {
        const path = `/v1/channels/${channel}/messages`;
        set_text(by_id('tile-curl'), curl_line(path, { data: { label: 'Orders today', value: 42 } }));
        by_id('tile-send').addEventListener('click', () => {
            const last = this.values[this.values.length - 1] ?? 42;
            const value = Math.max(0, Math.round(last + (Math.random() - 0.4) * 12));
            void post(path, { data: { label: 'Orders today', value } });
        });
    }

    async read_history(): Promise<void> {
        try {
            const page = await this.client.request({ type: 'history.get', channel: this.channel, limit: kPoints, reverse: true });
            if (page.type !== 'history') { return; }
            this.values = [];
            this.seen_ids.clear();
            this.log.replaceChildren();
            page.messages.reverse().forEach((message) => this.on_message({ ...message, channel: this.channel }));
        } catch { /* The next connection asks again. */ }
    }

    on_message(message: Message): void {
        if (message.id !== undefined) {
            if (this.seen_ids.has(message.id)) { return; }
            this.seen_ids.add(message.id);
        }
        const label = field(message.data, 'label');
        const value = typeof message.data === 'number' ? message.data : field(message.data, 'value');
        if (typeof value === 'number') {
            this.values = [...this.values, value].slice(-kPoints);
            set_text(by_id('tile-value'), value.toLocaleString());
            set_text(by_id('tile-label'), typeof label === 'string' ? label.slice(0, 80) : 'Value');
            this.draw();
        }
        const row = element('li');
        row.append(element('time', '', time_text(message.time)));
        if (typeof label === 'string' && typeof value === 'number') {
            row.append(element('span', '', label.slice(0, 80)), element('code', '', value.toLocaleString()));
        } else {
            row.append(element('code', '', as_text(message.data).slice(0, 200)));
        }
        this.log.prepend(row);
        while (this.log.childElementCount > kLogLines) { this.log.lastElementChild?.remove(); }
    }

    private draw(): void {
        const low = Math.min(...this.values);
        const span = Math.max(...this.values) - low || 1;
        const step = 300 / Math.max(1, this.values.length - 1);
        const points = this.values.map((value, index) => `${(index * step).toFixed(1)} ${(58 - (value - low) / span * 50).toFixed(1)}`);
        if (points.length === 1) { points.push(`300 ${points[0]?.split(' ')[1]}`); }
        const line = `M${points.join('L')}`;
        this.spark.querySelector('.line')?.setAttribute('d', line);
        this.spark.querySelector('.area')?.setAttribute('d', `${line}L300 64L0 64Z`);
    }
}

export class Numbers {
    private total = 0;
    private readonly seconds: number[] = Array<number>(kRateWindowS).fill(0);

    constructor() {
        setInterval(() => {
            const rate = this.seconds.reduce((sum, count) => sum + count, 0) / kRateWindowS;
            set_text(by_id('rate'), rate.toFixed(rate > 0 && rate < 10 ? 1 : 0));
            set_text(by_id('seen'), this.total.toLocaleString());
            this.seconds.pop();
            this.seconds.unshift(0);
        }, 1000);
    }

    on_message(): void {
        this.total += 1;
        this.seconds[0] = (this.seconds[0] ?? 0) + 1;
    }

    on_round_trip(ms: number): void { set_text(by_id('round-trip'), `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`); }

    on_node(name: string): void { set_text(by_id('node'), name); }
}

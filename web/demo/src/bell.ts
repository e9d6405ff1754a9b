// The user's notifications: the list, how many are unread, and the acknowledgement that clears them on
// every tab and device of the user.
import type { Client } from './client';
import type { Notification, Notifications, ServerFrame } from './protocol';
import { as_text, by_id, element, field, set_text, time_text } from './dom';
import { post, type Panel } from './page';

const kKept = 50;

export class Bell {
    private readonly list = by_id('notifications');
    private readonly empty = by_id('no-notifications');
    private readonly badge = by_id('unread');
    private readonly button = by_id('bell');
    private readonly ack = by_id<HTMLButtonElement>('ack');
    private epoch = '';
    private acked = 0;
    private items: Notification[] = [];   // Oldest first.

    constructor(private readonly client: Client, user: string, panel: Panel) {
        const path = `/v1/users/${encodeURIComponent(user)}/notifications`;
        const data = { title: 'Ada mentioned you', body: 'in “Launch board”' };
        set_text(by_id('notify-curl'), curl_line(path, { data }));
        by_id('notify-me').addEventListener('click', () => void post(path, { data }));
        this.ack.addEventListener('click', () => void this.acknowledge());
        panel.on_open = () => this.show();
        this.show();
    }

    // From `connected` and from `notifications`: all that is not acknowledged.
    on_position(all: Notifications): void {
        if (all.epoch !== this.epoch) {
            this.epoch = all.epoch;
            this.acked = 0;
            this.items = [];
        }
        const first = all.messages[0]?.offset ?? all.offset + 1;
        this.acked = Math.max(this.acked, first - 1);
        all.messages.forEach((item) => this.add(item));
        this.show();
    }

    on_frame(frame: ServerFrame): void {
        if (frame.type === 'notification') { this.add(frame); }
        if (frame.type === 'notification.acked') { this.acked = Math.max(this.acked, frame.offset); }
        if (frame.type === 'notifications') { this.on_position(frame); }
        this.show();
    }

    private add(item: Notification): void {
        if (this.items.some((other) => other.id === item.id)) { return; }
        this.items = [...this.items, item].sort((a, b) => a.offset - b.offset).slice(-kKept);
    }

    private async acknowledge(): Promise<void> {
        const newest = this.items[this.items.length - 1];
        if (newest === undefined) { return; }
        try {
            await this.client.request({ type: 'notification.ack', offset: newest.offset });
            this.acked = Math.max(this.acked, newest.offset);
            this.show();
        } catch { /* They stay unread, and the button stays. */ }
    }

    private show(): void {
        const unread = this.items.filter((item) => item.offset > this.acked).length;
        set_text(this.badge, unread > 99 ? '99+' : String(unread));
        this.badge.hidden = unread === 0;
        this.button.setAttribute('aria-label', unread === 0 ? 'Notifications' : `Notifications, ${unread} unread`);
        document.title = unread === 0 ? 'Starling demo' : `(${unread}) Starling demo`;
        this.ack.hidden = unread === 0;
        this.empty.hidden = this.items.length > 0;
        this.list.replaceChildren(...[...this.items].reverse().map((item) => this.row(item)));
    }

    private row(item: Notification): HTMLElement {
        const row = element('li', item.offset > this.acked ? 'unread' : '');
        const title = field(item.data, 'title');
        const body = field(item.data, 'body');
        row.append(element('strong', '', typeof title === 'string' ? title : as_text(item.data)));
        if (typeof body === 'string') { row.append(element('span', '', body)); }
        row.append(element('time', '', time_text(item.time)));
        return row;
    }
}

// A line to paste into a shell: inside '...' only the quote itself needs care.
export function curl_line(path: string, body: unknown): string {
    const json = JSON.stringify(body).replaceAll("'", "'\\''");
    return `curl ${location.origin}${path} \\\n  -H 'Authorization: Bearer dev' \\\n  -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}

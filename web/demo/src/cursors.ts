// Other people's pointers on the board. Ours goes out at most 20 times a second and only the latest
// place, because a place that is already old helps nobody. Places are parts of the board's size, so
// that a phone and a desktop mean the same.
import type { Client } from './client';
import type { Message } from './protocol';
import { by_id, element, field, set_text } from './dom';
import type { Look } from './identity';

const kEveryMs = 50;
const kFadeMs = 8_000;

interface Cursor { mark: HTMLElement; label: HTMLElement; fade: ReturnType<typeof setTimeout> }

export class Cursors {
    private readonly layer = by_id('cursors');
    private readonly cursors = new Map<string, Cursor>();
    private place: { x: number; y: number } | { gone: true } | undefined;
    private timer: ReturnType<typeof setTimeout> | undefined;

    constructor(private readonly client: Client, private readonly channel: string, private readonly user: string,
                private readonly is_here: (user: string) => boolean, private readonly look: (user: string) => Look) {
        const board = this.layer.parentElement as HTMLElement;
        const on_move = (event: PointerEvent): void => {
            const box = this.layer.getBoundingClientRect();
            this.tell({ x: round((event.clientX - box.left) / box.width), y: round((event.clientY - box.top) / box.height) });
        };
        board.addEventListener('pointermove', on_move);
        board.addEventListener('pointerdown', on_move);
        board.addEventListener('pointerleave', () => this.tell({ gone: true }));
    }

    on_message(message: Message): void {
        const user = message.userId;
        if (message.event !== 'move' || user === undefined || user === this.user || !this.is_here(user)) { return; }
        if (field(message.data, 'gone') === true) { this.remove(user); return; }
        const x = field(message.data, 'x');
        const y = field(message.data, 'y');
        if (typeof x !== 'number' || typeof y !== 'number') { return; }
        const cursor = this.cursors.get(user) ?? this.make(user);
        cursor.mark.style.setProperty('--x', String(clamp(x)));
        cursor.mark.style.setProperty('--y', String(clamp(y)));
        cursor.mark.classList.toggle('left', x > 0.8);
        cursor.mark.classList.remove('idle');
        clearTimeout(cursor.fade);
        cursor.fade = setTimeout(() => cursor.mark.classList.add('idle'), kFadeMs);
        this.paint(user, cursor);
    }

    // Who left takes the pointer along; who changed name or colour changes the pointer.
    on_people(): void {
        for (const [user, cursor] of this.cursors) {
            if (this.is_here(user)) { this.paint(user, cursor); } else { this.remove(user); }
        }
    }

    private tell(place: { x: number; y: number } | { gone: true }): void {
        this.place = place;
        if (this.timer !== undefined) { return; }
        this.flush();
        this.timer = setTimeout(() => this.on_timer(), kEveryMs);
    }

    private on_timer(): void {
        this.timer = undefined;
        if (this.place !== undefined) { this.tell(this.place); }
    }

    private flush(): void {
        this.client.send({ type: 'publish', channel: this.channel, event: 'move', data: this.place, echo: false });
        this.place = undefined;
    }

    private make(user: string): Cursor {
        const mark = element('div', 'cursor');
        const label = element('span', 'cursor-name');
        const arrow = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
        arrow.setAttribute('viewBox', '0 0 20 20');
        const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
        path.setAttribute('d', 'M2 2l6.5 15 2.2-6.300L17 8.5z');
        arrow.append(path);
        mark.append(arrow, label);
        mark.dataset['user'] = user;
        this.layer.append(mark);
        const cursor = { mark, label, fade: setTimeout(() => undefined, 0) };
        this.cursors.set(user, cursor);
        return cursor;
    }

    private paint(user: string, cursor: Cursor): void {
        const look = this.look(user);
        set_text(cursor.label, look.name);
        cursor.mark.style.setProperty('--color', look.color);
    }

    private remove(user: string): void {
        const cursor = this.cursors.get(user);
        if (cursor === undefined) { return; }
        clearTimeout(cursor.fade);
        cursor.mark.remove();
        this.cursors.delete(user);
    }
}

function round(part: number): number { return Math.round(clamp(part) * 10_000) / 10_000; }
function clamp(part: number): number { return Math.min(1, Math.max(0, part)); }

// The cards: messages `note` of the document's channel. A newcomer reads them from history. A card that
// was written offline waits and goes out with its key, so that however often it is sent, it is there once.
import type { Client } from './client';
import { RequestError } from './client';
import type { Message } from './protocol';
import { by_id, element, field, set_text, time_text } from './dom';
import { initials, look_of, type Look } from './identity';

const kTypingEveryMs = 2500;

export class Board {
    private readonly list = by_id('cards');
    private readonly empty = by_id('no-cards');
    private readonly input = by_id<HTMLTextAreaElement>('note');
    private readonly cards = new Map<string, { card: HTMLElement; offset: number }>();
    private readonly waiting = new Map<string, { frame: Record<string, unknown>; card: HTMLElement; busy: boolean }>();
    private typed_at: number | undefined;

    constructor(private readonly client: Client, private readonly channel: string,
                private readonly user: string, private readonly look: () => Look) {
        const form = by_id<HTMLFormElement>('composer');
        form.addEventListener('submit', (event) => { event.preventDefault(); this.add(); });
        this.input.addEventListener('keydown', (event) => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.add(); }
        });
        this.input.addEventListener('input', () => { this.fit(); this.tell_typing(this.input.value.trim() !== ''); });
        this.input.addEventListener('blur', () => this.tell_typing(false));
    }

    // The past is unknown: all cards that the history still has.
    async read_history(): Promise<void> {
        try {
            const page = await this.client.request({ type: 'history.get', channel: this.channel, limit: 100 });
            if (page.type !== 'history') { return; }
            const kept = new Set(page.messages.map((message) => message.id));
            const newest = page.position?.offset ?? 0;
            for (const [id, { card, offset }] of this.cards) {
                if (!kept.has(id) && offset <= newest) { card.remove(); this.cards.delete(id); }
            }
            page.messages.forEach((message) => this.on_message({ ...message, channel: this.channel }));
            this.empty.hidden = this.list.childElementCount > 0;
        } catch { /* The next connection asks again. */ }
    }

    on_message(message: Message): void {
        if (message.event !== 'note' || message.id === undefined || this.cards.has(message.id)) { return; }
        const text = field(message.data, 'text');
        if (typeof text !== 'string') { return; }
        const user = message.userId ?? 'server';
        const key = field(message.data, 'key');
        if (user === this.user && typeof key === 'string') { this.settle(key); }
        const card = make_card(text.slice(0, 280), look_of(user, message.data), message.time);
        const offset = message.offset ?? 0;
        this.cards.set(message.id, { card, offset });
        card.dataset['offset'] = String(offset);
        // Newest first; those that still wait are above all.
        const after = [...this.list.children].find((other) => Number((other as HTMLElement).dataset['offset'] ?? Infinity) < offset);
        this.list.insertBefore(card, after ?? null);
        this.empty.hidden = true;
    }

    on_online(): void {
        for (const key of this.waiting.keys()) { void this.push(key); }
    }

    private add(): void {
        const text = this.input.value.trim();
        if (text === '') { return; }
        this.input.value = '';
        this.fit();
        this.typed_at = undefined;  // The message itself ends the typing.
        const look = this.look();
        const key = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 12)}`;
        const card = make_card(text, look, Date.now());
        card.classList.add('waiting');
        this.list.prepend(card);
        this.empty.hidden = true;
        const data = { text, key, ...look };
        this.waiting.set(key, { frame: { type: 'publish', channel: this.channel, event: 'note', key, data }, card, busy: false });
        void this.push(key);
    }

    private async push(key: string): Promise<void> {
        const entry = this.waiting.get(key);
        if (entry === undefined || entry.busy) { return; }
        entry.busy = true;
        try {
            await this.client.request(entry.frame);
        } catch (error) {
            entry.busy = false;
            if (!(error instanceof RequestError)) { throw error; }
            if (error.code === 'offline') { return; }  // on_online() sends it again.
            if (error.retryable) { setTimeout(() => void this.push(key), 1000 + Math.random() * 1000); return; }
            entry.card.classList.add('refused');
            entry.card.append(element('p', 'why', `Not added: ${error.message}`));
            this.waiting.delete(key);
        }
    }

    private settle(key: string): void {
        this.waiting.get(key)?.card.remove();
        this.waiting.delete(key);
    }

    private tell_typing(active: boolean): void {
        const now = performance.now();
        if (active && this.typed_at !== undefined && now - this.typed_at < kTypingEveryMs) { return; }
        if (!active && this.typed_at === undefined) { return; }
        this.typed_at = active ? now : undefined;
        this.client.send({ type: 'typing', channel: this.channel, ...(active ? {} : { active: false }) });
    }

    private fit(): void {
        this.input.style.height = 'auto';
        this.input.style.height = `${this.input.scrollHeight}px`;
    }
}

function make_card(text: string, look: Look, time: number): HTMLElement {
    const card = element('li', 'card');
    card.style.setProperty('--color', look.color);
    card.append(element('p', 'card-text', text));
    const foot = element('p', 'card-foot');
    const face = element('span', 'avatar small', initials(look.name));
    face.setAttribute('aria-hidden', 'true');
    const when = element('time', '');
    set_text(when, time_text(time));
    foot.append(face, element('span', 'who', look.name), when);
    card.append(foot);
    return card;
}

// The page around the parts: panels that open and close, the banner, and calls to the backend's API.
import type { State } from './client';
import { by_id, set_text } from './dom';

// The key of development mode; a product keeps its key on the server.
export async function post(path: string, body: unknown): Promise<void> {
    await fetch(path, {
        method: 'POST',
        headers: { Authorization: 'Bearer dev', 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });
}

export interface Panel { close: () => void; on_open: () => void }

export function make_panel(button: HTMLElement, panel: HTMLElement): Panel {
    const made: Panel = { close: () => set(false), on_open: () => undefined };
    const set = (open: boolean): void => {
        if (open === (panel.hidden === false)) { return; }
        panel.hidden = !open;
        button.setAttribute('aria-expanded', String(open));
        if (open) { made.on_open(); }
    };
    button.addEventListener('click', () => set(panel.hidden === true));
    document.addEventListener('pointerdown', (event) => {
        const target = event.target as Node;
        if (!panel.contains(target) && !button.contains(target)) { set(false); }
    });
    document.addEventListener('keydown', (event) => {
        if (event.key === 'Escape' && !panel.hidden) { set(false); button.focus(); }
    });
    return made;
}

const kBannerAfterMs = 400;  // A break that heals at once is nobody's business.

export class Status {
    private readonly pill = by_id('status');
    private readonly text = by_id('status-text');
    private readonly banner = by_id('banner');
    private readonly banner_text = by_id('banner-text');
    private timer: ReturnType<typeof setTimeout> | undefined;
    private was_online = false;

    constructor(retry: () => void) { by_id('banner-button').addEventListener('click', retry); }

    show(state: State): void {
        this.pill.dataset['state'] = state.name;
        document.body.classList.toggle('away', state.name !== 'online');
        set_text(this.text, { online: 'Live', connecting: 'Connecting', waiting: 'Reconnecting', closed: 'Disconnected' }[state.name]);
        if (state.name === 'online') {
            clearTimeout(this.timer);
            this.timer = undefined;
            this.was_online = true;
            this.banner.hidden = true;
        } else if (state.name === 'closed') {
            const why = state.reason === '' ? `code ${state.code}` : state.reason;
            set_text(this.banner_text, `The server ended this connection (${why}).`);
            this.banner.hidden = false;
        } else {
            set_text(this.banner_text, this.was_online
                ? 'Connection lost. Reconnecting; what you write is kept and sent then.'
                : 'No answer from the gateway yet. Trying again.');
            this.timer ??= setTimeout(() => { this.banner.hidden = false; }, kBannerAfterMs);
        }
    }
}

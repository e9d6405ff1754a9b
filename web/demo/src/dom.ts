// The few things that the page needs of the DOM. Text goes in as textContent only.

export function by_id<T extends Element = HTMLElement>(id: string): T {
    const found = document.querySelector<T>(`#${id}`);
    if (found === null) { throw new Error(`no element #${id}`); }
    return found;
}

export function element(tag: string, class_name = '', text = ''): HTMLElement {
    const made = document.createElement(tag);
    if (class_name !== '') { made.className = class_name; }
    if (text !== '') { made.textContent = text; }
    return made;
}

// Touches the page only where it changes, so screen readers repeat nothing and nothing flickers.
export function set_text(target: Element, text: string): void {
    if (target.textContent !== text) { target.textContent = text; }
}

// A short form of any JSON value, for people.
export function as_text(value: unknown): string {
    return typeof value === 'string' ? value : JSON.stringify(value) ?? '';
}

export function field(value: unknown, name: string): unknown {
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
}

export function time_text(ms: number): string {
    return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

export function copy_buttons(): void {
    for (const button of document.querySelectorAll<HTMLButtonElement>('[data-copy]')) {
        button.addEventListener('click', async () => {
            const source = by_id(button.dataset['copy'] ?? '');
            try {
                await navigator.clipboard.writeText(source.textContent ?? '');
                set_text(button, 'Copied');
            } catch {
                getSelection()?.selectAllChildren(source);  // No clipboard without https: leave it selected.
                set_text(button, 'Selected');
            }
            setTimeout(() => set_text(button, 'Copy'), 1500);
        });
    }
}

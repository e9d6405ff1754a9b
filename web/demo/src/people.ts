// Who is here: the row of avatars, the count, and who is typing.
import type { Channel } from './channel';
import { by_id, element, set_text } from './dom';
import { initials, look_of, type Look } from './identity';

const kShown = 5;

export class People {
    private readonly avatars = by_id('avatars');
    private readonly viewers = by_id('viewers');
    private readonly typing = by_id('typing');
    private readonly items = new Map<string, HTMLElement>();
    private readonly more = element('li', 'avatar more');

    constructor(private readonly me: string) {}

    look(channel: Channel, user: string): Look { return look_of(user, channel.members.get(user)?.data); }

    show(channel: Channel): void {
        const members = [...channel.members.values()].sort(
            (a, b) => a.connectedAt - b.connectedAt || (a.userId < b.userId ? -1 : 1));
        const shown = members.slice(0, members.length > kShown ? kShown - 1 : kShown);
        const wanted = new Set(shown.map((member) => member.userId));
        for (const [user, item] of this.items) {
            if (!wanted.has(user)) { item.remove(); this.items.delete(user); }
        }
        shown.forEach((member, index) => {
            const item = this.items.get(member.userId) ?? element('li', 'avatar enter');
            this.items.set(member.userId, item);
            paint_avatar(item, look_of(member.userId, member.data));
            const label = look_of(member.userId, member.data).name + (member.userId === this.me ? ' (you)' : '');
            item.title = label;
            item.setAttribute('aria-label', label);
            if (this.avatars.children[index] !== item) { this.avatars.insertBefore(item, this.avatars.children[index] ?? null); }
        });
        const rest = channel.count - shown.length;
        if (rest > 0) {
            set_text(this.more, `+${rest}`);
            this.avatars.append(this.more);
        } else {
            this.more.remove();
        }
        const count = `${channel.count} ${channel.count === 1 ? 'person' : 'people'} viewing`;
        set_text(this.viewers, channel.stale ? `${count} (may be out of date)` : count);
    }

    show_typing(channel: Channel): void {
        const names = [...channel.typing].filter((user) => user !== this.me).map((user) => this.look(channel, user).name);
        const text = names.length === 0 ? ''
            : names.length === 1 ? `${names[0]} is typing`
            : names.length === 2 ? `${names[0]} and ${names[1]} are typing`
            : `${names.length} people are typing`;
        set_text(this.typing, text);
        this.typing.classList.toggle('on', text !== '');
    }
}

export function paint_avatar(target: HTMLElement, look: Look): void {
    set_text(target, initials(look.name));
    target.style.setProperty('--color', look.color);
}

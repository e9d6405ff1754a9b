// Who this browser is. All tabs of a browser are one user; ?user=ada makes a tab somebody else.
import { field } from './dom';

export interface Look { name: string; color: string }

// White text on each has a contrast of at least 4.5 to 1.
const kColors = ['#c2410c', '#b45309', '#4d7c0f', '#15803d', '#0f766e', '#0369a1', '#1d4ed8', '#6d28d9', '#a21caf', '#be123c'];
const kFirst = ['Amber', 'Brave', 'Calm', 'Clever', 'Early', 'Gentle', 'Keen', 'Lucky', 'Merry', 'Quick', 'Quiet', 'Sunny'];
const kSecond = ['Finch', 'Heron', 'Jay', 'Kite', 'Lark', 'Magpie', 'Owl', 'Plover', 'Robin', 'Swift', 'Tern', 'Wren'];

export function color_of(user: string): string {
    let hash = 2166136261;
    for (const unit of user) { hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 16777619); }
    hash ^= hash >>> 15;
    return kColors[(hash >>> 0) % kColors.length] as string;
}

// Presence data is what somebody else sent: taken only where it has the right shape.
export function look_of(user: string, data: unknown): Look {
    const name = field(data, 'name');
    const color = field(data, 'color');
    return {
        name: typeof name === 'string' && name.trim() !== '' ? name.trim().slice(0, 40) : user.slice(0, 40),
        color: typeof color === 'string' && kColors.includes(color) ? color : color_of(user),
    };
}

export function initials(name: string): string {
    const words = name.split(/\s+/u).filter((word) => word !== '');
    const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]];
    return letters.map((word) => [...(word ?? '?')][0] ?? '?').join('').toLocaleUpperCase();
}

function pick(list: string[]): string { return list[Math.floor(Math.random() * list.length)] as string; }

export function load_identity(): { user: string; name: string } {
    const asked = new URLSearchParams(location.search).get('user')?.trim();
    if (asked !== undefined && asked !== '') {
        return { user: asked, name: localStorage.getItem(`starling.name:${asked}`) ?? asked };
    }
    let user = localStorage.getItem('starling.user');
    if (user === null) {
        const name = `${pick(kFirst)} ${pick(kSecond)}`;
        user = `${name.toLowerCase().replace(' ', '-')}-${Math.random().toString(36).slice(2, 6)}`;
        localStorage.setItem('starling.user', user);
        save_name(user, name);
    }
    return { user, name: localStorage.getItem(`starling.name:${user}`) ?? user };
}

export function save_name(user: string, name: string): void { localStorage.setItem(`starling.name:${user}`, name); }

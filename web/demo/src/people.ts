// Who this browser is, and how people look. All tabs of a browser are one user; ?user=ada makes a tab somebody else.
import { useSyncExternalStore } from 'react';

export interface Look { name: string; color: string }

// White text on each has a contrast of at least 4.5 to 1.
const kColors = ['#c2410c', '#b45309', '#4d7c0f', '#15803d', '#0f766e', '#0369a1', '#1d4ed8', '#6d28d9', '#a21caf', '#be123c'];
const kFirst = ['Amber', 'Brave', 'Calm', 'Clever', 'Early', 'Gentle', 'Keen', 'Lucky', 'Merry', 'Quick', 'Quiet', 'Sunny'];
const kSecond = ['Finch', 'Heron', 'Jay', 'Kite', 'Lark', 'Magpie', 'Owl', 'Plover', 'Robin', 'Swift', 'Tern', 'Wren'];

export function colorOf(user: string): string {
    let hash = 2166136261;
    for (const unit of user) { hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 16777619); }
    hash ^= hash >>> 15;
    return kColors[(hash >>> 0) % kColors.length]!;
}

// Presence data is what somebody else sent: taken only where it has the right shape.
export function lookOf(user: string, data: unknown): Look {
    const { name, color } = (data ?? {}) as Partial<Record<keyof Look, unknown>>;
    return {
        name: (typeof name === 'string' && name.trim() || user).slice(0, 40),
        color: typeof color === 'string' && kColors.includes(color) ? color : colorOf(user),
    };
}

export function initials(name: string): string {
    const words = name.split(/\s+/u).filter(Boolean);
    return [...new Set([words[0], words.at(-1)])].map((word) => [...word ?? '?'][0]).join('').toLocaleUpperCase();
}

const pick = (list: string[]): string => list[Math.floor(Math.random() * list.length)]!;

export const currentUser: string = new URLSearchParams(location.search).get('user')?.trim() || ownUser();
const kNameKey = `starling.name:${currentUser}`;

function ownUser(): string {
    let user = localStorage.getItem('starling.user');
    if (!user) {
        const name = `${pick(kFirst)} ${pick(kSecond)}`;
        user = `${name.toLowerCase().replace(' ', '-')}-${Math.random().toString(36).slice(2, 6)}`;
        localStorage.setItem('starling.user', user);
        localStorage.setItem(`starling.name:${user}`, name);
    }
    return user;
}

/** This user's name, the same in all tabs: they hear of each other's change by `storage`. */
export const useName = (): string => useSyncExternalStore(onStorage, () => localStorage.getItem(kNameKey) ?? currentUser);

export function saveName(name: string): void {
    localStorage.setItem(kNameKey, name);
    dispatchEvent(new Event('storage'));
}

function onStorage(changed: () => void): () => void {
    addEventListener('storage', changed);
    return () => removeEventListener('storage', changed);
}

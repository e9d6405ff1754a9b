// Other people's pointers over an area. Ours goes out at most 20 times a second and only the latest place, because
// a place that is already old helps nobody. Places are parts of the area's size, so a phone and a desktop mean the same.
import { useEffect, useRef, useState, type PointerEvent, type ReactNode } from 'react';
import { useClient, useEvent, useOthers } from '@starling/client/react';
import { lookOf, type Look } from '../people';

interface Place { x: number; y: number }
const kEveryMs = 50;
const kFadeMs = 8_000;

export function CursorArea({ channel, people, className, children }: { channel: string; people: string; className: string; children: ReactNode }) {
    const tell = useLatestPlace(channel);
    const others = useOthers(people);
    const [places, setPlaces] = useState<Record<string, Place>>({});
    useEvent(channel, 'move', ({ userId = '', data }) =>
        setPlaces(({ [userId]: _, ...rest }) => data ? { ...rest, [userId]: { x: part(data.x), y: part(data.y) } } : rest));

    const onMove = (event: PointerEvent<HTMLElement>): void => {
        const box = event.currentTarget.getBoundingClientRect();
        tell({ x: part((event.clientX - box.left) / box.width), y: part((event.clientY - box.top) / box.height) });
    };
    return (
        <section className={className} onPointerMove={onMove} onPointerDown={onMove} onPointerLeave={() => tell(null)}>
            {children}
            <div id="cursors" className="cursors" aria-hidden="true">
                {others.map(({ userId, data }) => {
                    const place = places[userId];   // Only of who is here: who left takes the pointer along.
                    return place && <Cursor key={userId} user={userId} place={place} look={lookOf(userId, data)} />;
                })}
            </div>
        </section>
    );
}

function Cursor({ user, place, look }: { user: string; place: Place; look: Look }) {
    const [idle, setIdle] = useState(false);
    useEffect(() => {
        setIdle(false);
        const timer = setTimeout(() => setIdle(true), kFadeMs);
        return () => clearTimeout(timer);
    }, [place]);
    const style = { '--x': place.x, '--y': place.y, '--color': look.color } as object;
    return (
        <div className={`cursor${place.x > 0.8 ? ' left' : ''}${idle ? ' idle' : ''}`} data-user={user} style={style}>
            <svg viewBox="0 0 20 20"><path d="M2 2l6.5 15 2.2-6.3L17 8.5z" /></svg>
            <span className="cursor-name">{look.name}</span>
        </div>
    );
}

// Publishes the newest place of each interval; nothing while offline, because places do not wait.
function useLatestPlace(channel: string): (place: Place | null) => void {
    const client = useClient();
    const newest = useRef<Place | null>(undefined);
    const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
    const flush = (): void => {
        timer.current = undefined;
        if (newest.current === undefined) { return; }
        if (client.state === 'online') { client.channel(channel).publish(newest.current, { event: 'move', echo: false }).catch(() => undefined); }
        newest.current = undefined;
        timer.current = setTimeout(flush, kEveryMs);
    };
    return (place) => {
        newest.current = place;
        if (!timer.current) { flush(); }
    };
}

const part = (value: unknown): number => Math.round(Math.min(1, Math.max(0, Number(value) || 0)) * 10_000) / 10_000;

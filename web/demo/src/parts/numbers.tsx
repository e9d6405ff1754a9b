// What this connection sees: messages of all its channels, and how long the gateway takes to answer.
import { useEffect, useRef, useState } from 'react';
import { useClient, useConnection } from '@starling/client/react';

const kWindowS = 5;
const kAskEveryMs = 5_000;
const kSettledMs = 1_000;     // The page itself is still at work before.

export function Numbers({ channels }: { channels: readonly string[] }) {
    const { nodeId } = useConnection();
    const { seen, rate } = useMessageRate(channels);
    const ms = useRoundTrip(channels[0]!);
    return (
        <section className="tile" aria-labelledby="numbers-title">
            <h2 id="numbers-title">This connection</h2>
            <dl className="numbers">
                <div><dt>Messages a second</dt><dd id="rate">{rate.toFixed(rate > 0 && rate < 10 ? 1 : 0)}</dd></div>
                <div><dt>Messages seen</dt><dd id="seen">{seen.toLocaleString()}</dd></div>
                <div><dt>Round trip</dt><dd id="round-trip">{ms === undefined ? '–' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`}</dd></div>
                <div><dt>Node</dt><dd id="node">{nodeId ?? '–'}</dd></div>
            </dl>
        </section>
    );
}

function useMessageRate(channels: readonly string[]): { seen: number; rate: number } {
    const client = useClient();
    const counts = useRef({ seen: 0, seconds: Array<number>(kWindowS).fill(0) });
    const [view, setView] = useState({ seen: 0, rate: 0 });
    useEffect(() => {
        const stops = channels.map((name) => client.channel(name).subscribe(() => {
            counts.current.seen += 1;
            counts.current.seconds[0]! += 1;
        }));
        const timer = setInterval(() => {
            const { seen, seconds } = counts.current;
            const rate = seconds.reduce((sum, count) => sum + count, 0) / kWindowS;
            setView((old) => old.seen === seen && old.rate === rate ? old : { seen, rate });
            seconds.unshift(0);
            seconds.pop();
        }, 1000);
        return () => { clearInterval(timer); stops.forEach((stop) => stop()); };
    }, [client, channels]);
    return view;
}

// The time of a small question; not while nobody looks.
function useRoundTrip(channel: string): number | undefined {
    const client = useClient();
    const { state } = useConnection();
    const [ms, setMs] = useState<number>();
    useEffect(() => {
        if (state !== 'online') { return; }
        const ask = async (): Promise<void> => {
            if (document.hidden) { return; }
            const start = performance.now();
            await client.channel(channel).history({ limit: 1 }).then(() => setMs(performance.now() - start), () => undefined);
        };
        const first = setTimeout(ask, kSettledMs);
        const timer = setInterval(ask, kAskEveryMs);
        return () => { clearTimeout(first); clearInterval(timer); };
    }, [client, channel, state]);
    return ms;
}

// A dashboard tile that a server feeds over HTTP: the newest value and the line that led to it.
import { useMessages } from '@starling/client/react';
import { post } from '../backend';
import { asText, curlLine, timeText } from '../text';
import { Curl } from './curl';

const kPoints = { history: 40, limit: 40 };
const kLogLines = 4;

export function LiveTile({ channel }: { channel: string }) {
    const messages = useMessages(channel, kPoints);
    const numbers = messages.map(({ data }) => typeof data === 'number' ? { value: data } : data).filter((data) => typeof data?.value === 'number');
    const values = numbers.map(({ value }): number => value);
    const newest = numbers.at(-1);
    const path = `/v1/channels/${channel}/messages`;

    // Plays the server: a value near the last one, once or for a while.
    const send = (value: number, times: number): void => {
        const next = Math.max(0, Math.round(value + (Math.random() - 0.4) * 12));
        void post(path, { data: { label: 'Orders today', value: next } });
        if (times > 1) { setTimeout(() => send(next, times - 1), 500); }
    };
    const last = values.at(-1);
    return (
        <section className="tile" aria-labelledby="tile-title">
            <div className="tile-head"><h2 id="tile-title">Live tile</h2><span className="tag">{channel}</span></div>
            <p id="tile-label" className="quiet">{last === undefined ? 'Waiting for the first value' : asText(newest?.label ?? 'Value').slice(0, 80)}</p>
            <p id="tile-value" className="value" aria-live="polite">{last?.toLocaleString() ?? '–'}</p>
            <Spark values={values} />
            <ul className="log" aria-label="Latest messages">
                {messages.slice(-kLogLines).reverse().map(({ id, time, data }) => (
                    <li key={id}><time>{timeText(time)}</time><span>{asText(data?.label ?? '')}</span><code>{asText(data?.value ?? data).slice(0, 200)}</code></li>
                ))}
            </ul>
            <Curl id="tile-curl" title="Feed it from your server:" line={curlLine(path, { data: { label: 'Orders today', value: 42 } })} />
            <div className="row">
                <button id="tile-send" className="button" type="button" onClick={() => send(last ?? 42, 1)}>Send a value</button>
                <button id="tile-stream" className="button" type="button" onClick={() => send(last ?? 42, 20)}>Stream for 10 s</button>
            </div>
        </section>
    );
}

function Spark({ values }: { values: readonly number[] }) {
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    const step = 300 / Math.max(1, values.length - 1);
    const points = values.map((value, index) => `${(index * step).toFixed(1)} ${(58 - (value - low) / span * 50).toFixed(1)}`);
    if (points.length === 1) { points.push(`300 ${points[0]!.split(' ')[1]}`); }
    const line = points.length ? `M${points.join('L')}` : '';
    return (
        <svg className="spark" viewBox="0 0 300 64" preserveAspectRatio="none" aria-hidden="true">
            <path className="area" d={line && `${line}L300 64L0 64Z`} /><path className="line" d={line} />
        </svg>
    );
}

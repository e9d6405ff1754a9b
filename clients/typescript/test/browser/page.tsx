// The page that the browser stories open: every hook once, in StrictMode, and a switch between two routes.
import { StrictMode, useState, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient, type Client } from '@starling/client';
import {
    StarlingProvider, useConnection, useEvent, useLiveValue, useMessages, useNotifications, useOthers, usePresence, useTyping,
} from '@starling/client/react';

const query = new URLSearchParams(location.search);
const frames: any[] = [];
const seen = window as unknown as { frames: any[]; events: string[]; client: Client; go: (route: string) => void; renders: number };
Object.assign(seen, { frames, events: [], renders: 0 });
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) { frames.push(JSON.parse(String(text))); send.call(this, text); };

const client = createClient({ url: query.get('gateway')!, user: query.get('user')!, linger: Number(query.get('linger')) });
seen.client = client;
client.on('state', (view) => seen.events.push(view.state));
client.on('lost', () => seen.events.push('lost'));
client.channel('doc:1').on('gap', (gap) => seen.events.push(`gap ${gap.reason}`));

function Connection(): ReactNode {
    const { state, lost } = useConnection();
    return <p id="state">{state}{lost ? ' lost' : ''}</p>;
}

function Messages(): ReactNode {
    const messages = useMessages('doc:1', { history: 50 });
    return <ol id="messages">{messages.map((one) => <li key={one.id}>{String(one.data)}</li>)}</ol>;
}

function Viewers(): ReactNode {
    const { members, count } = usePresence('doc:1', { name: query.get('user')! });
    return <p id="viewers">{count}: {members.map((one) => one.data?.name).sort().join(' ')}</p>;
}

function OtherNames(): ReactNode {
    seen.renders += 1;
    const names = useOthers('doc:1', (others) => others.map((one) => one.userId).sort(), (a, b) => a.join() === b.join());
    return <p id="others">{names.join(' ')}</p>;
}

function Field(): ReactNode {
    const { users, keystroke, stop } = useTyping('doc:1');
    return <><input id="field" onInput={keystroke} onBlur={stop} /><p id="typing">{users.join(' ')}</p></>;
}

function Bell(): ReactNode {
    const { list, unread, acknowledge } = useNotifications();
    return <button id="bell" onClick={() => void acknowledge()}>{unread} of {list.length}</button>;
}

function Price(): ReactNode {
    const [moves, setMoves] = useState(0);
    const price = useLiveValue<number>('price:eur', { initial: 0 });
    useEvent('price:eur', 'move', () => setMoves((n) => n + 1));
    return <p id="price">{price} {moves}</p>;
}

function App(): ReactNode {
    const [route, go] = useState('home');
    seen.go = go;
    return <>
        <Connection />
        {route === 'home' ? <><Messages /><Viewers /><OtherNames /><Field /><Bell /><Price /></> : route === 'other' ? <section><Messages /><Viewers /></section> : null}
    </>;
}

createRoot(document.getElementById('root')!).render(<StrictMode><StarlingProvider client={client}><App /></StarlingProvider></StrictMode>);

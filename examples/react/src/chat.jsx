import { useState } from 'react';
import { useClient, useConnection, useMessages, usePresence, useTyping } from '@starling/client/react';

export function Chat({ room }) {
    const { lost } = useConnection();
    const { members, count } = usePresence(room, true);
    const messages = useMessages(room, { history: 50 });
    return (
        <main>
            {lost && <p role="alert">Connection lost. What you write is kept, and sent when it is back.</p>}
            <p id="viewers">{`${count} here: ${members.map(({ userId }) => userId).sort().join(', ')}`}</p>
            <ul id="messages">
                {messages.map(({ id, userId, data }) => <li key={id}>{`${userId}: ${data.text}`}</li>)}
            </ul>
            <Composer room={room} />
        </main>
    );
}

function Composer({ room }) {
    const client = useClient();
    const [text, setText] = useState('');
    const [error, setError] = useState('');
    const { users, keystroke, stop } = useTyping(room);
    const send = (event) => {
        event.preventDefault();
        if (!text.trim()) { return; }
        client.channel(room).publish({ text }).then(() => setError(''), (reason) => setError(reason.message));
        setText('');
        stop();
    };
    return (
        <form onSubmit={send}>
            <input id="text" aria-label="Message" placeholder="Say something" value={text} onBlur={stop}
                onChange={(event) => { setText(event.target.value); keystroke(); }} />
            <p id="typing" className="typing">{users.length > 0 && `${users.join(', ')} typing …`}</p>
            {error && <p role="alert">{error}</p>}
        </form>
    );
}

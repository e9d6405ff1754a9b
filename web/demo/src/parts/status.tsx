// How the connection is: a pill, and a banner once it has been lost for long enough to say so.
import { useRef } from 'react';
import { useClient, useConnection } from '@starling/client/react';

const kWords = { idle: 'Connecting', connecting: 'Connecting', online: 'Live', waiting: 'Reconnecting', closed: 'Disconnected' };

export function Status() {
    const { state } = useConnection();
    return <p id="status" className="status" role="status" data-state={state}><i /><span id="status-text">{kWords[state]}</span></p>;
}

export function Banner() {
    const client = useClient();
    const { state, lost, error } = useConnection();
    const wasOnline = useRef(false);
    wasOnline.current ||= state === 'online';
    if (!lost && state !== 'closed') { return null; }
    const text = state === 'closed' ? `The server ended this connection (${error?.message}).`
        : wasOnline.current ? 'Connection lost. What you write is kept, and sent when it is back.'
        : 'No answer from the gateway yet. Trying again.';
    return (
        <div id="banner" className="banner" role="alert">
            <span id="banner-text">{text}</span>
            {state === 'closed' && <button id="banner-button" className="button" type="button" onClick={() => client.connect()}>Connect again</button>}
        </div>
    );
}

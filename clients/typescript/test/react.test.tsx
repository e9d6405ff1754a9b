// On a server the hooks render what there is before anything is connected, and connect nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReactNode } from 'react';
import { renderToString } from 'react-dom/server';
import { createClient } from '../src/index';
import { StarlingProvider, useConnection, useLiveValue, useMessages, useNotifications, useOthers, usePresence, useTyping } from '../src/react';

function Everything(): ReactNode {
    const { state } = useConnection();
    const messages = useMessages('doc:1', { history: 10 });
    const { count } = usePresence('doc:1', { name: 'Ada' });
    const others = useOthers('doc:1');
    const { users } = useTyping('doc:1');
    const { unread } = useNotifications();
    const price = useLiveValue('price', { initial: 3 });
    return [state, messages.length, count, others.length, users.length, unread, price].join(' ');
}

test('rendered on a server, it says nothing yet and opens nothing', () => {
    let opened = 0;
    const client = createClient({ url: '/', transport: () => { opened += 1; throw new Error('no'); } });
    assert.equal(renderToString(<StarlingProvider client={client}><Everything /></StarlingProvider>), 'idle 0 0 0 0 0 3');
    assert.equal(opened, 0);
    assert.equal(client.state, 'idle');
});

test('a hook without a provider says so', () => {
    assert.throws(() => renderToString(<Everything />), /StarlingProvider/);
});

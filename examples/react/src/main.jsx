import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from '@starling/client';
import { StarlingProvider } from '@starling/client/react';
import { Chat } from './chat.jsx';

const { searchParams } = new URL(location.href);
const client = createClient({ url: searchParams.get('gateway') ?? 'http://localhost:8000', user: searchParams.get('user') ?? 'guest' });

createRoot(document.getElementById('root')).render(
    <StrictMode>
        <StarlingProvider client={client}><Chat room="chat:lobby" /></StarlingProvider>
    </StrictMode>,
);

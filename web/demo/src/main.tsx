// The demo page: one client, three channels, and a part for each thing that a page may want to show live.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createClient } from '@starling/client';
import { StarlingProvider } from '@starling/client/react';
import { App } from './app';
import { currentUser } from './people';

// A name on trust and no token: development mode only. A product passes `token` (docs/guides/backends.md).
const client = createClient({ url: '/', user: currentUser, lostAfter: 1_000, publishTimeout: 240_000 });

createRoot(document.getElementById('root')!).render(
    <StrictMode>
        <StarlingProvider client={client}><App /></StarlingProvider>
    </StrictMode>,
);

// Puts the parts together. Each of them is a component of its own that can be copied.
import { useMemo } from 'react';
import { useConnection } from '@starling/client/react';
import { Bell } from './parts/bell';
import { Board } from './parts/board';
import { Composer } from './parts/composer';
import { CursorArea } from './parts/cursors';
import { LiveTile } from './parts/live_tile';
import { Me } from './parts/me';
import { Banner, Status } from './parts/status';
import { Numbers } from './parts/numbers';
import { TypingLine } from './parts/typing_line';
import { Viewers } from './parts/viewers';
import { colorOf, currentUser, useName } from './people';
import { useOutbox } from './outbox';

const kDocument = 'doc:demo';
const kCursors = 'cursor:demo';
const kDashboard = 'dash:demo';
const kAll = [kDocument, kCursors, kDashboard];

export function App() {
    const name = useName();
    const me = useMemo(() => ({ name, color: colorOf(currentUser) }), [name]);
    const outbox = useOutbox(kDocument);
    const away = useConnection().state !== 'online';
    return (
        <div className={away ? 'page away' : 'page'}>
            <a className="skip" href="#note">Skip to the board</a>
            <header className="bar">
                <div className="brand"><img src="icon.svg" alt="" width="32" height="32" /><span>Starling</span></div>
                <Status />
                <div className="tools"><Bell /><Me me={me} /></div>
            </header>
            <Banner />
            <main>
                <CursorArea channel={kCursors} people={kDocument} className="board">
                    <div className="board-head">
                        <div>
                            <h1>Launch board</h1>
                            <p className="quiet">One page, everyone on it. Open it in a second window or on a phone.</p>
                        </div>
                        <Viewers channel={kDocument} me={me} />
                    </div>
                    <Composer channel={kDocument} onSubmit={(text) => outbox.add({ text, ...me })} />
                    <TypingLine channel={kDocument} />
                    <Board channel={kDocument} waiting={outbox.waiting} />
                </CursorArea>
                <aside>
                    <LiveTile channel={kDashboard} />
                    <Numbers channels={kAll} />
                </aside>
            </main>
        </div>
    );
}

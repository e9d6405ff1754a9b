// The shared board: the channel's notes, newest first, and above them those that are still on their way.
import { useMessages } from '@starling/client/react';
import { lookOf } from '../people';
import type { NoteData, WaitingNote } from '../outbox';
import { timeText } from '../text';
import { Avatar } from './avatar';

const kNotes = { event: 'note', history: 100, limit: 100 };

export function Board({ channel, waiting }: { channel: string; waiting: readonly WaitingNote[] }) {
    const notes = useMessages(channel, kNotes).filter(({ data }) => typeof data?.text === 'string');
    const arrived = new Set(notes.map(({ data }) => data.key));
    const pending = waiting.filter(({ data }) => !arrived.has(data.key));
    return (
        <>
            <ol id="cards" className="cards" aria-label="Cards, newest first">
                {pending.map((note) => <Card key={note.data.key} user="" {...note} waits />)}
                {[...notes].reverse().map(({ id, userId, data, time }) => <Card key={data.key ?? id} user={userId ?? 'server'} data={data} time={time} />)}
            </ol>
            {notes.length + pending.length === 0 && <p className="empty">No cards yet. The first one is yours.</p>}
        </>
    );
}

function Card({ user, data, time, waits, refused, retry }: { user: string; data: NoteData; time: number; waits?: boolean; refused?: string; retry?: () => void }) {
    const look = lookOf(user, data);
    return (
        <li className={`card${refused ? ' refused' : waits ? ' waiting' : ''}`} style={{ '--color': look.color } as object}>
            <p className="card-text">{data.text.slice(0, 280)}</p>
            {refused && <p className="why">{`Not added: ${refused}. `}<button className="link" type="button" onClick={retry}>Try again</button></p>}
            <p className="card-foot"><Avatar look={look} small /><span className="who">{look.name}</span><time>{timeText(time)}</time></p>
        </li>
    );
}

// Who is here: a row of avatars and "N people viewing". Being mounted is being present.
import { useConnection, usePresence } from '@starling/client/react';
import { lookOf, type Look } from '../people';
import { Avatar } from './avatar';

const kShown = 5;

export function Viewers({ channel, me }: { channel: string; me: Look }) {
    const { members, count } = usePresence(channel, me);
    const { userId } = useConnection();
    const sorted = [...members].sort((a, b) => a.connectedAt - b.connectedAt || (a.userId < b.userId ? -1 : 1));
    const shown = sorted.slice(0, count > kShown ? kShown - 1 : kShown);
    return (
        <div className="viewers">
            <ul id="avatars" className="avatars" aria-label="Who is here">
                {shown.map((member) => {
                    const look = lookOf(member.userId, member.data);
                    const label = look.name + (member.userId === userId ? ' (you)' : '');
                    return <li key={member.userId} className="enter" title={label} aria-label={label}><Avatar look={look} /></li>;
                })}
                {count > shown.length && shown.length > 0 && <li className="avatar more">{`+${count - shown.length}`}</li>}
            </ul>
            <p id="viewers" aria-live="polite">{count ? `${count} ${count === 1 ? 'person' : 'people'} viewing` : '\u00a0'}</p>
        </div>
    );
}

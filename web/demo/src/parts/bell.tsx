// The user's notifications: the list, how many are unread, and the mark that clears them on every tab and device.
import { useEffect } from 'react';
import { useNotifications } from '@starling/client/react';
import { post } from '../backend';
import { currentUser } from '../people';
import { asText, curlLine, timeText } from '../text';
import { Curl } from './curl';

const kPath = `/v1/users/${encodeURIComponent(currentUser)}/notifications`;
const kExample = { data: { title: 'Ada mentioned you', body: 'in “Launch board”' } };

export function Bell() {
    const { list, unread, acknowledge, isRead } = useNotifications();
    useEffect(() => { document.title = unread ? `(${unread}) Starling demo` : 'Starling demo'; }, [unread]);
    return (
        <>
            <button id="bell" className="icon-button" type="button" popoverTarget="bell-panel" aria-label={unread ? `Notifications, ${unread} unread` : 'Notifications'}>
                <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 10a6 6 0 1 1 12 0c0 5 2 6 2 7H4c0-1 2-2 2-7Zm4 10.5a2.2 2.2 0 0 0 4 0" /></svg>
                <b id="unread" className="badge" hidden={unread === 0}>{unread > 99 ? '99+' : unread}</b>
            </button>
            <section id="bell-panel" className="panel" popover="auto" aria-labelledby="bell-title">
                <div className="panel-head">
                    <h2 id="bell-title">Notifications</h2>
                    {/* Offline it is not done; they stay unread, and the button stays. */}
                    <button id="ack" className="link" type="button" hidden={unread === 0} onClick={() => acknowledge().catch(() => undefined)}>Mark all as read</button>
                </div>
                <ul id="notifications" className="notifications">
                    {[...list].reverse().map((one) => (
                        <li key={one.id} className={isRead(one) ? '' : 'unread'}>
                            <strong>{asText(one.data?.title ?? one.data)}</strong>
                            {one.data?.body && <span>{asText(one.data.body)}</span>}
                            <time>{timeText(one.time)}</time>
                        </li>
                    ))}
                </ul>
                {list.length === 0 && <p className="quiet">Nothing here yet. What comes while you are away waits for you.</p>}
                <Curl id="notify-curl" title="Your backend sends one with:" line={curlLine(kPath, kExample)} />
                <button id="notify-me" className="button" type="button" onClick={() => post(kPath, kExample)}>Send me one</button>
            </section>
        </>
    );
}

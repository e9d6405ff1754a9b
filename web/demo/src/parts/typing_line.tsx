// Who is typing, by name.
import { useOthers, useTyping } from '@starling/client/react';
import { lookOf } from '../people';

export function TypingLine({ channel }: { channel: string }) {
    const { users } = useTyping(channel);
    const others = useOthers(channel);
    const [first, second, ...rest] = users.map((user) => lookOf(user, others.find((one) => one.userId === user)?.data).name);
    const text = !first ? '' : !second ? `${first} is typing` : rest.length ? `${users.length} people are typing` : `${first} and ${second} are typing`;
    return <p id="typing" className={text ? 'typing on' : 'typing'} aria-live="polite">{text}</p>;
}

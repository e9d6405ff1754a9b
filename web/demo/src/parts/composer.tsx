// The field for a new note. Each key tells the others that somebody types; the client sends no more than is needed.
import { useState, type FormEvent, type KeyboardEvent } from 'react';
import { useTyping } from '@starling/client/react';

export function Composer({ channel, onSubmit }: { channel: string; onSubmit: (text: string) => void }) {
    const [text, setText] = useState('');
    const { keystroke, stop } = useTyping(channel);

    const change = (next: string): void => {
        setText(next);
        if (next.trim()) { keystroke(); } else { stop(); }
    };
    const submit = (event: FormEvent | KeyboardEvent): void => {
        event.preventDefault();
        if (!text.trim()) { return; }
        onSubmit(text.trim());
        setText('');
        stop();
    };
    const onKeyDown = (event: KeyboardEvent): void => {
        if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) { submit(event); }
    };
    return (
        <form className="composer" onSubmit={submit}>
            <label className="hidden" htmlFor="note">New card</label>
            <textarea id="note" rows={1} maxLength={280} placeholder="Add a card …" enterKeyHint="send" value={text}
                onChange={(event) => change(event.target.value)} onKeyDown={onKeyDown} onBlur={stop} />
            <button className="button primary" type="submit">Add</button>
        </form>
    );
}

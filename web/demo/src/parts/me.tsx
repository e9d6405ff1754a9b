// This user, and a new name that everyone sees at once: it is presence data, and the newest is the user's.
import { useRef, type FormEvent } from 'react';
import { saveName, type Look } from '../people';
import { Avatar } from './avatar';

export function Me({ me }: { me: Look }) {
    const panel = useRef<HTMLFormElement>(null);
    const input = useRef<HTMLInputElement>(null);
    const save = (event: FormEvent): void => {
        event.preventDefault();
        const name = input.current!.value.trim();
        if (!name) { return; }
        saveName(name);
        panel.current!.hidePopover();
    };
    return (
        <>
            <button id="me" className="me-button" type="button" popoverTarget="name-panel" aria-label={`${me.name}, change your name`}>
                <Avatar look={me} /><span id="me-name">{me.name}</span>
            </button>
            <form id="name-panel" className="panel narrow" popover="auto" aria-label="Your name" ref={panel} onSubmit={save}
                onToggle={({ newState }) => { if (newState === 'open') { input.current!.value = me.name; input.current!.focus(); input.current!.select(); } }}>
                <label htmlFor="name">Your name</label>
                <div className="row"><input id="name" ref={input} maxLength={40} autoComplete="nickname" required /><button className="button primary" type="submit">Save</button></div>
                <p className="quiet">Everyone sees the change at once. Add <code>?user=ada</code> to the address to be someone else.</p>
            </form>
        </>
    );
}

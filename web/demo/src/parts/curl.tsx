// A command to copy.
import { useRef, useState } from 'react';

export function Curl({ id, title, line }: { id: string; title: string; line: string }) {
    const code = useRef<HTMLElement>(null);
    const [label, setLabel] = useState('Copy');
    const copy = async (): Promise<void> => {
        try {
            await navigator.clipboard.writeText(line);
            setLabel('Copied');
        } catch {
            getSelection()?.selectAllChildren(code.current!);   // No clipboard without https: leave it selected.
            setLabel('Selected');
        }
        setTimeout(() => setLabel('Copy'), 1500);
    };
    return (
        <div className="curl">
            <p className="quiet">{title}</p>
            <button className="copy" type="button" aria-label="Copy the command" onClick={copy}>{label}</button>
            <pre><code id={id} ref={code} tabIndex={0}>{line}</code></pre>
        </div>
    );
}

// Notes on their way: shown at once, and gone from here when the channel brings them back. The client keeps them
// while the page is offline and sends each once; what it gives up can be tried again under the same key.
import { useCallback, useMemo, useState } from 'react';
import { useClient } from '@starling/client/react';

export interface NoteData { text: string; key: string; name: string; color: string }
export interface WaitingNote { data: NoteData; time: number; refused?: string; retry?: () => void }

export function useOutbox(channel: string) {
    const client = useClient();
    const [waiting, setWaiting] = useState<readonly WaitingNote[]>([]);

    const send = useCallback((data: NoteData): void => {
        const change = (how: (note: WaitingNote) => WaitingNote | undefined): void =>
            setWaiting((all) => all.flatMap((note) => note.data.key === data.key ? how(note) ?? [] : note));
        change(({ time }) => ({ data, time }));
        client.channel(channel).publish(data, { event: 'note', key: data.key }).then(
            () => change(() => undefined),
            (error) => change(({ time }) => ({ data, time, refused: String(error.message), retry: () => send(data) })),
        );
    }, [client, channel]);

    const add = useCallback((note: Omit<NoteData, 'key'>): void => {
        const data = { ...note, key: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 12)}` };
        setWaiting((all) => [{ data, time: Date.now() }, ...all]);
        send(data);
    }, [send]);

    return useMemo(() => ({ waiting, add }), [waiting, add]);
}

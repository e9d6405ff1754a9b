// What channels and notifications need of the shell.
import type { Event, Frame, State } from './machine_types';

export type Listener = (value: any) => void;

export interface Core {
    _state(): State;
    /** Now; and what it leads to soon, together with all else that happens now. */
    _tell(event: Event): void;
    _request(frame: Frame): Promise<any>;
    _listen(channel: string, name: string, listener: Listener): () => void;
}

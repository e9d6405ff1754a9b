// What this client knows of one channel: the position it has read up to, who is here, who types.
// Fed with frames in order; says what changed and holds no socket, so it reads like the protocol.
import type { Member, Message, Position, ServerFrame, Subscribed } from './protocol';

export interface ChannelOptions {
    presence?: unknown;                       // Present with this data; absent: only watching.
    watch?: 'members' | 'count' | 'none';
    recover?: boolean;                        // Ask for what was missed (default), or not.
    on_message?: (message: Message) => void;
    on_fresh?: () => void;                    // The past is unknown or lost: read it again.
    on_people?: () => void;
    on_typing?: () => void;
}

export class Channel {
    readonly members = new Map<string, Member>();
    readonly typing = new Set<string>();
    count = 0;
    stale = false;
    subscribed = false;
    private position: Position | undefined;

    constructor(readonly name: string, readonly options: ChannelOptions) {}

    subscribe_frame(): Record<string, unknown> {
        const { presence, watch, recover } = this.options;
        return {
            type: 'subscribe',
            channel: this.name,
            ...(presence === undefined ? {} : { presence }),
            ...(watch === undefined ? {} : { watch }),
            ...(this.position !== undefined && recover !== false ? { recover: this.position } : {}),
        };
    }

    // Without the position the next subscription is a new beginning.
    forget(): void { this.position = undefined; this.subscribed = false; }

    // The connection broke. Who is here stays on view; who types is news of the moment only.
    on_lost(): void {
        this.subscribed = false;
        this.typing.clear();
        this.options.on_typing?.();
    }

    on_subscribed(frame: Subscribed): void {
        const fresh = this.position === undefined || frame.recovered !== true;
        this.subscribed = true;
        this.stale = frame.stale === true || frame.presence?.stale === true;
        if (fresh) {
            this.position = frame.position;
            this.options.on_fresh?.();
        }
        for (const message of frame.messages ?? []) { this.on_message(message); }
        if (!fresh && frame.position !== undefined) { this.position = frame.position; }
        if (frame.presence !== undefined) { this.take_set(frame.presence.count, frame.presence.users); }
        this.typing.clear();
        for (const user of frame.typing ?? []) { this.typing.add(user); }
        this.options.on_typing?.();
    }

    on_frame(frame: ServerFrame): void {
        switch (frame.type) {
            case 'message': this.on_message(frame); return;
            case 'presence':
                this.stale = frame.stale === true;
                this.take_set(frame.count, frame.users);
                return;
            case 'presence.join': this.join(frame); break;
            case 'presence.update': this.update(frame.userId, frame.data); break;
            case 'presence.leave': this.leave(frame.userId); break;
            case 'presence.diff':
                frame.joins.forEach((member) => this.join(member));
                frame.updates.forEach((change) => this.update(change.userId, change.data));
                frame.leaves.forEach((gone) => this.leave(gone.userId));
                this.count = frame.count;
                break;
            case 'presence.count':
                this.members.clear();  // Too many to list: the list is void.
                this.count = frame.count;
                break;
            case 'typing.start': this.typing.add(frame.userId); this.options.on_typing?.(); return;
            case 'typing.stop': this.typing.delete(frame.userId); this.options.on_typing?.(); return;
            default: return;
        }
        this.options.on_people?.();
    }

    private on_message(message: Message): void {
        if (message.offset !== undefined && this.position !== undefined) {
            if (message.offset <= this.position.offset) { return; }
            this.position = { ...this.position, offset: message.offset, id: message.id ?? '' };
        }
        if (message.data !== undefined) { this.options.on_message?.(message); }
    }

    private take_set(count: number, users: Member[] | undefined): void {
        this.members.clear();
        for (const user of users ?? []) { this.members.set(user.userId, user); }
        this.count = count;
        this.options.on_people?.();
    }

    private join(member: Member): void {
        if (!this.members.has(member.userId)) { this.count += 1; }
        this.members.set(member.userId, member);
    }

    private update(user: string, data: unknown): void {
        const member = this.members.get(user);
        if (member !== undefined) { this.members.set(user, { ...member, data }); }
    }

    private leave(user: string): void {
        if (this.members.delete(user)) { this.count -= 1; }
    }
}

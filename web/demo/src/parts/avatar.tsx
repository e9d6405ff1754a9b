// A person as a disc with initials.
import { initials, type Look } from '../people';

export function Avatar({ look, small }: { look: Look; small?: boolean }) {
    return <span className={small ? 'avatar small' : 'avatar'} style={{ '--color': look.color } as object} aria-hidden="true">{initials(look.name)}</span>;
}

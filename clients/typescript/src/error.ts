// What went wrong, for programs (`code`, `retryable`) and for people (`message`, `help`).

/** Where each code is explained; the file comes with the package. */
const kHelp = '@starling/client/ERRORS.md#';

/** An error of the gateway or of the client itself. */
export class StarlingError extends Error {
    /** A code of the protocol, or the client's own: `timeout`, `queue_full`, `closed`, `ended`. */
    declare readonly code: string;
    /** Whether the same may work later. */
    declare readonly retryable: boolean;
    /** The channel it is about. */
    declare readonly channel: string | undefined;
    /** Where the code is explained. */
    declare readonly help: string;

    constructor({ code, message, retryable, channel }: { code: string; message: string; retryable: boolean; channel?: string | undefined }) {
        super(message);
        Object.assign(this, { name: 'StarlingError', code, retryable, channel, help: kHelp + code });
    }
}

// Small words for people.
export function timeText(ms: number): string {
    return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** A short form of any JSON value. */
export function asText(value: unknown): string {
    return typeof value === 'string' ? value : JSON.stringify(value) ?? '';
}

/** A line to paste into a shell: inside '...' only the quote itself needs care. */
export function curlLine(path: string, body: unknown): string {
    const json = JSON.stringify(body).replaceAll("'", "'\\''");
    return `curl \\\n  ${location.origin}${path} \\\n  -H 'Authorization: Bearer dev' \\\n  -H 'Content-Type: application/json' \\\n  -d '${json}'`;
}

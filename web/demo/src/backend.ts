// What a backend does over HTTP, done from the page with the key of development mode. A product keeps its key on
// the server (docs/guides/backends.md).
export async function post(path: string, body: unknown): Promise<void> {
    await fetch(path, {
        method: 'POST',
        headers: { Authorization: 'Bearer dev', 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    }).catch(() => undefined);   // Offline: the page says so already.
}

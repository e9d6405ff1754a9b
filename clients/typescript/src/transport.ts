// WebSocket as a transport. Another one (SSE, a test's) has the same two calls and three events; it may say
// `open` at once and begin with the first text, which is always the `connect` frame.
import type { Transport } from './types';

export function webSocket(Socket: any = (globalThis as any).WebSocket): Transport {
    return (url, on) => {
        if (!Socket) { throw Error('no WebSocket: pass one'); }
        const socket = new Socket(url, 'starling.v1.json');
        socket.onopen = on.open;
        socket.onmessage = (event: { data: string }) => on.text(event.data);
        socket.onclose = (event: { code: number; reason: string }) => on.close(event.code, event.reason);
        // A close follows; without a listener some platforms end the program.
        socket.onerror = () => {};
        return socket;
    };
}

/** `https://host` or `/` becomes the address of the gateway's socket. */
export function socketUrl(url: string): string {
    const at = new URL(url, (globalThis as any).location?.href);
    at.protocol = at.protocol.replace('http', 'ws');
    if (at.pathname === '/') { at.pathname = '/v1/ws'; }
    return at.href;
}

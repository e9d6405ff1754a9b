// The usual first design: one Map of connections, and Redis pub/sub by pattern between nodes. Every node gets every
// message, and a delivery walks all connections of the node. Presence is left out, which is in its favour.
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { WebSocketServer } from 'ws';

const [port, address] = process.argv.slice(2);         // Of Redis: a port, or the path of a socket.
const options = { ...(address.startsWith('/') ? { path: address } : { port: Number(address) }), retryStrategy: () => 50 };
const redis = new Redis(options);
const subscriber = new Redis(options);
redis.on('error', () => {});
subscriber.on('error', () => {});
await subscriber.psubscribe('ws:pubsub:*');

const connections = new Map();
subscriber.on('pmessage', (pattern, name, text) => {
    const channel = name.slice('ws:pubsub:'.length);
    for (const connection of connections.values()) {
        if (connection.channels.has(channel)) { connection.socket.send(text); }
    }
});

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), backlog: 4096, perMessageDeflate: false });
server.on('connection', (socket) => {
    const id = randomUUID();
    const connection = { id, socket, channels: new Set(), connectedAt: Date.now() };
    connections.set(id, connection);
    socket.on('message', (bytes) => {
        const frame = JSON.parse(bytes);
        if (frame.type === 'join') {
            connection.channels.add(frame.room);
            socket.send('{"type":"joined"}');
        } else if (frame.type === 'publish') {
            redis.publish(`ws:pubsub:${frame.room}`, JSON.stringify({ type: 'message', room: frame.room, data: frame.data }));
        }
    });
    socket.on('close', () => connections.delete(id));
    socket.on('error', () => {});
});

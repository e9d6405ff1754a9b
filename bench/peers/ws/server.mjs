// A server of rooms on `ws`, as a careful user of it writes one: a Map of rooms, each message encoded once.
import { WebSocketServer } from 'ws';

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096, perMessageDeflate: false });
server.on('connection', (socket) => {
    const joined = new Set();
    socket.on('message', (bytes) => {
        const frame = JSON.parse(bytes);
        if (frame.type === 'join') {
            let room = rooms.get(frame.room);
            if (!room) { rooms.set(frame.room, room = new Set()); }
            room.add(socket);
            joined.add(frame.room);
            socket.send('{"type":"joined"}');
        } else if (frame.type === 'publish') {
            const text = JSON.stringify({ type: 'message', room: frame.room, data: frame.data });
            for (const member of rooms.get(frame.room) ?? []) { member.send(text); }
        }
    });
    socket.on('close', () => {
        for (const name of joined) {
            const room = rooms.get(name);
            room.delete(socket);
            if (room.size === 0) { rooms.delete(name); }
        }
    });
    socket.on('error', () => {});
});

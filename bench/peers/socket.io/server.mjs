// A server of rooms on Socket.IO, over its WebSocket transport alone.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
io.on('connection', (socket) => {
    socket.on('join', (room, done) => {
        socket.join(room);
        done();
    });
    socket.on('publish', (room, data) => io.to(room).emit('message', data));
});
http.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });

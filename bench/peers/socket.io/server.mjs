// A server of rooms on Socket.IO, over its WebSocket transport alone; told the port of a Redis, one node of several by its Redis adapter.
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

const [port, redisPort] = process.argv.slice(2).map(Number);
const http = createServer();
const io = new Server(http, { transports: ['websocket'], serveClient: false });
if (redisPort) {
    const publisher = new Redis({ port: redisPort });
    const subscriber = publisher.duplicate();
    io.adapter(createAdapter(publisher, subscriber));
    // Connections send in order, so what the adapter subscribes to is in force once this is answered.
    await subscriber.ping();
}
io.on('connection', (socket) => {
    socket.on('join', (room, done) => {
        socket.join(room);
        done();
    });
    socket.on('publish', (room, data) => io.to(room).emit('message', data));
});
http.listen({ port, host: '127.0.0.1', backlog: 4096 });

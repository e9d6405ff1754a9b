// A shop's backend: who is signed in gets a token, and an order is told to all who may watch the shop.
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';

const { STARLING_URL, STARLING_API_KEY, STARLING_TOKEN_SECRET, PORT = '3000' } = process.env;
const orders = [];

function mintToken(user) {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { sub: user, exp: Math.floor(Date.now() / 1000) + 900, can: { 'shop:*': ['subscribe', 'history', 'presence'] } };
    const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `${body}.${createHmac('sha256', STARLING_TOKEN_SECRET).update(body).digest('base64url')}`;
}

async function starling(path, body) {
    const answer = await fetch(STARLING_URL + path, {
        method: 'POST',
        headers: { Authorization: `Bearer ${STARLING_API_KEY}`, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });
    if (!answer.ok) { throw new Error(await answer.text()); }
}

// Stands for your session: here a header says who it is.
const signedIn = (request) => request.headers['x-user'];

async function read(request) {
    let text = '';
    for await (const piece of request) { text += piece; }
    return JSON.parse(text);
}

const server = createServer(async (request, response) => {
    const user = signedIn(request);
    const answer = (status, text = '') => response.writeHead(status).end(text);
    try {
        if (!user) {
            answer(401);
        } else if (request.method === 'GET' && request.url === '/starling-token') {
            answer(200, mintToken(user));
        } else if (request.method === 'POST' && request.url === '/orders') {
            const order = { number: orders.length + 1, customer: user, item: (await read(request)).item };
            orders.push(order);
            // The order is stored; should telling fail, it may be told again under the same key.
            const key = `order-${order.number}`;
            await starling('/v1/channels/shop:orders/messages', { event: 'ordered', data: order, key });
            await starling(`/v1/users/${encodeURIComponent(user)}/notifications`, { data: { title: `Order ${order.number} is on its way` }, key });
            answer(201, JSON.stringify(order));
        } else {
            answer(404);
        }
    } catch (error) {
        console.error(error);
        answer(500);
    }
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));

// A WebSocket client of few lines, so that a test says exactly what goes over the wire and sees
// exactly what comes back: frames as objects, and the close code.

import { randomBytes } from 'node:crypto';
import net from 'node:net';

export class Client {
  frames = [];
  closeCode = undefined;
  status = undefined;
  #input = Buffer.alloc(0);
  #waiting = new Set();

  // Resolves when the handshake is answered; `status` is 101 or the refusal.
  static open(port, path, headers = {}) {
    const client = new Client();
    client.socket = net.connect(port, '127.0.0.1');
    const lines = [`GET ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'Upgrade: websocket', 'Connection: Upgrade',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, 'Sec-WebSocket-Version: 13',
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
    client.socket.write(lines.join('\r\n') + '\r\n\r\n');
    client.socket.on('data', (data) => client.#take(data));
    client.socket.on('error', () => {});
    client.socket.on('close', () => { client.ended = true; client.closeCode ??= 1006; client.#wake(); });
    return client.until(() => client.status !== undefined || client.ended).then(() => client);
  }

  send(frame) { this.sendText(JSON.stringify(frame)); }
  sendText(text) { this.#write(1, Buffer.from(text)); }

  // Sends and gives the reply with this id.
  async ask(frame, timeout = 2000) {
    this.lastId = (this.lastId ?? 0) + 1;
    const id = this.lastId;
    this.send({ ...frame, id });
    await this.until(() => this.frames.some((one) => one.id === id) || this.ended, timeout);
    return this.frames.find((one) => one.id === id);
  }

  async next(wanted, timeout = 2000) {
    await this.until(() => this.frames.some(wanted) || this.ended, timeout);
    return this.frames.find(wanted);
  }

  // True once `ready` is, false after the timeout.
  async until(ready, timeout = 2000) {
    if (ready()) return true;
    return new Promise((resolve) => {
      const check = () => { if (ready()) done(true); };
      const timer = setTimeout(() => done(false), timeout);
      const done = (result) => { clearTimeout(timer); this.#waiting.delete(check); resolve(result); };
      this.#waiting.add(check);
    });
  }

  async closed(timeout = 2000) {
    await this.until(() => this.closeCode !== undefined, timeout);
    return this.closeCode;
  }

  close() {
    if (!this.ended && this.status === 101) this.#write(8, Buffer.from([0x03, 0xe8]));
    this.socket.end();
    setTimeout(() => this.socket.destroy(), 200).unref();
  }

  #write(opcode, payload) {
    if (this.socket.destroyed) return;
    const mask = randomBytes(4);
    const head = [0x80 | opcode];
    if (payload.length < 126) head.push(0x80 | payload.length);
    else if (payload.length < 65536) head.push(0x80 | 126, payload.length >> 8, payload.length & 255);
    else head.push(0x80 | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (payload.length >> shift) & 255));
    const masked = Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]));
    this.socket.write(Buffer.concat([Buffer.from(head), mask, masked]));
  }

  #take(data) {
    this.#input = Buffer.concat([this.#input, data]);
    if (this.status === undefined) {
      const end = this.#input.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.status = Number(this.#input.toString('latin1', 9, 12));
      this.#input = this.#input.subarray(end + 4);
    }
    while (this.status === 101 && this.#takeFrame());
    this.#wake();
  }

  #takeFrame() {
    const input = this.#input;
    if (input.length < 2) return false;
    let size = input[1] & 127;
    let start = 2;
    if (size === 126) { if (input.length < 4) return false; size = input.readUInt16BE(2); start = 4; }
    else if (size === 127) { if (input.length < 10) return false; size = Number(input.readBigUInt64BE(2)); start = 10; }
    if (input.length < start + size) return false;
    const payload = input.subarray(start, start + size);
    const opcode = input[0] & 15;
    if (opcode === 1) this.frames.push(JSON.parse(payload.toString()));
    if (opcode === 8) { this.closeCode ??= size >= 2 ? payload.readUInt16BE(0) : 1005; this.#write(8, payload.subarray(0, 2)); }
    if (opcode === 9) this.#write(10, payload);
    this.#input = input.subarray(start + size);
    return true;
  }

  #wake() { for (const check of [...this.#waiting]) check(); }
}

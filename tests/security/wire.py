"""A WebSocket client by hand, so that it can be wrong in any way."""

import json
import socket
import struct
import zlib

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
UPGRADE = ("GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n")


def frame(opcode, payload=b"", final=True, rsv=0, masked=True, length=None):
    """`length` announces another size than the payload has, in the 64 bit form."""
    head = bytes([(0x80 if final else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if length is not None:
        head += struct.pack("!BQ", bit | 127, length)
    elif len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    # A mask of zeros: the payload stays readable.
    return head + (b"\0\0\0\0" if masked else b"") + payload


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def deflate(data):
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Client:
    def __init__(self, address, path="/v1/ws", headers="", timeout=8, source="127.0.0.1"):
        self.socket = socket.create_connection(address, timeout=timeout, source_address=(source, 0))
        self.socket.sendall((UPGRADE % (path, headers)).encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            part = self.socket.recv(65536)
            if not part:
                break
            self.buffer += part
        self.head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.status = int(self.head.split(b" ", 2)[1]) if self.head else None

    def send(self, data):
        """False where the peer has gone already."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def _take(self, size):
        while len(self.buffer) < size:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                raise EOFError
            self.buffer += part
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive(self):
        """(opcode, payload, rsv), or None at the end of the stream."""
        try:
            first, second = self._take(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", self._take(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", self._take(8))[0]
            return first & 0x0F, self._take(size), (first >> 4) & 7
        except EOFError:
            return None

    def until(self, opcode):
        """The next frame of that kind, or None at the end."""
        while (got := self.receive()) is not None and got[0] != opcode:
            pass
        return got

    def texts(self, until):
        """Values of the frames up to the one for which `until` holds."""
        got = []
        while not got or not until(got[-1]):
            if (one := self.until(TEXT)) is None:
                raise EOFError
            got.append(json.loads(one[1]))
        return got

    def closed(self):
        """The close code; 1005 for none, 1006 where the stream just ended."""
        got = self.until(CLOSE)
        if got is None:
            return 1006
        return struct.unpack("!H", got[1][:2])[0] if len(got[1]) >= 2 else 1005

    def ends(self):
        """Whether the stream ends, whatever still comes."""
        try:
            while self.receive() is not None:
                pass
            return True
        except TimeoutError:
            return False

    def connect(self, user="ada"):
        self.send(frame(TEXT, b'{"type":"connect","id":1,"user":"%s"}' % user.encode()))
        return self.until(TEXT)

    def close(self):
        self.socket.close()

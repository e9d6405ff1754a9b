#!/usr/bin/env python3
"""Drives a WebSocket echo endpoint through RFC 6455 and RFC 7692, frame by frame.

Cases bear the ids of the Autobahn test suite whose ground they cover. Prints each failure and ends with
`N passed, N failed`. The endpoint must permit messages of 16 MiB.
"""

import argparse
import base64
import hashlib
import os
import socket
import struct
import sys
import urllib.parse
import zlib

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def xor(data, mask=MASK):
    repeated = mask * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated[:len(data)], "big")).to_bytes(len(data), "big")


def frame(opcode, payload=b"", final=True, rsv=0, masked=True):
    head = bytes([(0x80 if final else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    return head + (MASK + xor(payload) if masked else payload)


def fragments(opcode, payload, size, rsv=0):
    parts = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    return b"".join(frame(0 if index else opcode, part, index == len(parts) - 1, 0 if index else rsv)
                    for index, part in enumerate(parts))


def close_frame(code, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


def deflate(data, bits=15):
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -bits)
    return (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Failure(Exception):
    """What the server did otherwise than the text has it."""


class Client:
    """One connection: bytes out, (opcode, payload, rsv) messages in."""

    def __init__(self, url, timeout, extensions=None):
        parts = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key.decode()}"]
        if extensions:
            lines.append(f"Sec-WebSocket-Extensions: {extensions}")
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *rest = head.decode("latin-1").split("\r\n")
        self.headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)}
        if " 101 " not in status:
            raise Failure(f"handshake answered {status}")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if self.headers.get("sec-websocket-accept") != accept:
            raise Failure("Sec-WebSocket-Accept is wrong")

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        self.buffer += data

    def take(self, size):
        chunks = [self.buffer]
        have = len(self.buffer)
        while have < size:
            data = self.socket.recv(min(1 << 20, max(size - have, 4096)))
            if not data:
                raise EOFError
            chunks.append(data)
            have += len(data)
        data = b"".join(chunks)
        self.buffer = data[size:]
        return data[:size]

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The peer gave up already; what it said is still to be read.

    def frame(self):
        first, second = self.take(2)
        if second & 0x80:
            raise Failure("the server masks its frames")
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.take(8))[0]
        return first & 0x0F, bool(first & 0x80), first >> 4 & 7, self.take(size)

    def receive(self):
        """The next message or control frame; ("end",) when the connection is over."""
        try:
            opcode, final, rsv, payload = self.frame()
            while not final:
                more, final, _, part = self.frame()
                if more != 0:
                    return more, part, 0
                payload += part
            return opcode, payload, rsv
        except (EOFError, ConnectionResetError):
            return "end", b"", 0
        except socket.timeout:
            return "silence", b"", 0


def show(event):
    return f"{event[0]} {event[1][:40]!r} ({len(event[1])} bytes)"


class Suite:
    def __init__(self, options):
        self.options = options
        self.passed = self.failed = 0

    def run(self, case, body):
        if self.options.case and not case.startswith(self.options.case):
            return
        try:
            body()
            self.passed += 1
        except (Failure, OSError, EOFError) as problem:
            self.failed += 1
            print(f"{case}: {problem or type(problem).__name__}")

    def connect(self, extensions=None):
        return Client(self.options.url, self.options.timeout, extensions)

    def expect(self, client, expected):
        for opcode, payload in expected:
            event = client.receive()
            if event[:2] != (opcode, payload):
                raise Failure(f"expected {show((opcode, payload))}, got {show(event)}")

    def finish(self, client, codes):
        """The peer closes with one of the codes (or, None among them, without) and ends the connection."""
        event = client.receive()
        if event[0] == CLOSE:
            code = struct.unpack("!H", event[1][:2])[0] if len(event[1]) >= 2 else 1005
            if code not in codes:
                raise Failure(f"closed with {code}, expected {codes}")
            client.send(frame(CLOSE, event[1][:2]))
            event = client.receive()
            if event[0] != "end":
                raise Failure(f"after its close: {show(event)}")
        elif event[0] != "end" or None not in codes:
            raise Failure(f"expected a close with {codes}, got {show(event)}")
        client.socket.close()

    def echo(self, case, data, expected, chop=0):
        """Sends bytes, sees the answers, then closes in good order."""
        def body():
            client = self.connect()
            for at in range(0, len(data), chop or max(len(data), 1)):
                client.send(data[at:at + (chop or len(data))])
            self.expect(client, expected)
            client.send(close_frame(1000))
            self.finish(client, (1000,))
        self.run(case, body)

    def refuse(self, case, data, codes, expected=(), chop=0):
        """Sends bytes that must end the connection with a close code."""
        def body():
            client = self.connect()
            for at in range(0, len(data), chop or len(data)):
                client.send(data[at:at + (chop or len(data))])
            self.expect(client, expected)
            self.finish(client, codes)
        self.run(case, body)

    def squeeze(self, case, extensions, messages, limit_bits=15, agreed=True):
        """Echo through permessage-deflate; our frames are compressed, the answers may be."""
        def body():
            client = self.connect(extensions)
            answer = client.headers.get("sec-websocket-extensions", "")
            if agreed != answer.startswith("permessage-deflate"):
                raise Failure(f"offered {extensions!r}, answered {answer!r}")
            for opcode, data, size in messages:
                payload = deflate(data) if agreed else data
                client.send(fragments(opcode, payload, size or max(len(payload), 1), 4 if agreed else 0))
                event = client.receive()
                got = event[1]
                if event[2] & 4:
                    # RFC 7692 8: a window wider than agreed shows as an error here.
                    got = zlib.decompressobj(-limit_bits).decompress(got + b"\0\0\xff\xff")
                if (event[0], got) != (opcode, data):
                    raise Failure(f"expected {show((opcode, data))}, got {show((event[0], got))}")
            client.send(close_frame(1000))
            self.finish(client, (1000,))
        self.run(case, body)


def framing(suite):
    for kind, opcode, unit in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
            suite.echo(f"1.{kind}.{number}", frame(opcode, unit * size), [(opcode, unit * size)])
        suite.echo(f"1.{kind}.8", frame(opcode, unit * 65536), [(opcode, unit * 65536)], chop=997)
    for number, payload in enumerate((b"", b"Hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125), 1):
        suite.echo(f"2.{number}", frame(PING, payload), [(PONG, payload)])
    suite.refuse("2.5", frame(PING, b"\xfe" * 126), (1002,))
    suite.echo("2.6", frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)], chop=1)
    suite.echo("2.7", frame(PONG), [])
    suite.echo("2.8", frame(PONG, b"unsolicited"), [])
    suite.echo("2.9", frame(PONG, b"unsolicited") + frame(PING, b"x"), [(PONG, b"x")])
    for number, chop in ((10, 0), (11, 1)):
        pings = b"".join(frame(PING, b"payload-%d" % index) for index in range(10))
        suite.echo(f"2.{number}", pings, [(PONG, b"payload-%d" % index) for index in range(10)], chop)
    hello = [(TEXT, b"Hello")]
    for number, rsv in enumerate((4, 2, 1, 3, 5, 6, 7), 1):
        suite.refuse(f"3.{number}", frame(TEXT, b"Hello") + frame(TEXT, b"x", rsv=rsv), (1002,), hello)
    suite.refuse("3.ping", frame(PING, b"x", rsv=4), (1002,))
    for number, opcode in enumerate((3, 4, 5, 6, 7), 1):
        suite.refuse(f"4.1.{number}", frame(TEXT, b"Hello") + frame(opcode, b"x"), (1002,), hello)
    for number, opcode in enumerate((11, 12, 13, 14, 15), 1):
        suite.refuse(f"4.2.{number}", frame(TEXT, b"Hello") + frame(opcode, b"x"), (1002,), hello)
    suite.refuse("unmasked", frame(TEXT, b"Hello", masked=False), (1002,))
    suite.refuse("length.16", b"\x82\xfe\x00\x7d" + MASK, (1002,))
    suite.refuse("length.64", b"\x82\xff" + struct.pack("!Q", 65535) + MASK, (1002,))
    for number, size in enumerate((1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)):
        suite.refuse(f"length.huge.{number}", b"\x82\xff" + struct.pack("!Q", size) + MASK, (1009, 1002))


def fragmentation(suite):
    first, last = frame(TEXT, b"fragment1", final=False), frame(0, b"fragment2")
    joined = [(TEXT, b"fragment1fragment2")]
    suite.refuse("5.1", frame(PING, b"a", final=False) + frame(0, b"b"), (1002,))
    suite.refuse("5.2", frame(PONG, b"a", final=False) + frame(0, b"b"), (1002,))
    for number, chop in ((3, 0), (5, 1)):
        suite.echo(f"5.{number}", first + last, joined, chop)
    for number, chop in ((6, 0), (8, 1)):
        suite.echo(f"5.{number}", first + frame(PING, b"ping") + last, [(PONG, b"ping")] + joined, chop)
    suite.refuse("5.9", frame(0, b"x") + frame(TEXT, b"Hello"), (1002,))
    suite.refuse("5.10", frame(0, b"x", final=False) + frame(TEXT, b"Hello"), (1002,), chop=1)
    suite.refuse("5.15", first + last + frame(0, b"x", final=False) + last, (1002,), joined)
    suite.refuse("5.16", (frame(0, b"x", final=False) + first + last) * 2, (1002,))
    suite.refuse("5.18", first + frame(TEXT, b"fragment2"), (1002,))
    parts = [b"fragment%d" % index for index in range(1, 6)]
    data = (frame(TEXT, parts[0], False) + frame(0, parts[1], False) + frame(PING, b"1") + frame(0, parts[2], False) +
            frame(0, parts[3], False) + frame(PING, b"2") + frame(0, parts[4]))
    for number, chop in ((19, 0), (20, 1)):
        suite.echo(f"5.{number}", data, [(PONG, b"1"), (PONG, b"2"), (TEXT, b"".join(parts))], chop)
    suite.echo("5.empty", frame(BINARY, b"", False) + frame(0, b"", False) + frame(0, b""), [(BINARY, b"")])


def utf8(suite):
    greek = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
    suite.echo("6.1.1", frame(TEXT), [(TEXT, b"")])
    suite.echo("6.1.2", fragments(TEXT, b"", 1) + frame(TEXT, b"", False) + frame(0, b"", False) + frame(0),
               [(TEXT, b""), (TEXT, b"")])
    suite.echo("6.1.3", frame(TEXT, b"", False) + frame(0, b"middle", False) + frame(0), [(TEXT, b"middle")])
    mixed = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    suite.echo("6.2.1", frame(TEXT, mixed), [(TEXT, mixed)])
    suite.echo("6.2.2", fragments(TEXT, mixed, 12), [(TEXT, mixed)])
    suite.echo("6.2.3", fragments(TEXT, mixed, 1), [(TEXT, mixed)])
    suite.echo("6.2.4", fragments(TEXT, greek, 1), [(TEXT, greek)])
    bad = greek + b"\xed\xa0\x80edited"
    suite.refuse("6.3.1", frame(TEXT, bad), (1007,))
    suite.refuse("6.3.2", fragments(TEXT, bad, 1), (1007,))
    # Fail fast: the message, and then the frame, is never finished.
    suite.refuse("6.4.1", frame(TEXT, greek, False) + frame(0, b"\xf4\x90\x80\x80", False), (1007,))
    suite.refuse("6.4.2", frame(TEXT, greek + b"\xf4", False) + frame(0, b"\x90", False), (1007,))
    whole = frame(TEXT, greek + b"\xf4\x90\x80\x80edited")
    suite.refuse("6.4.3", whole[:6 + len(greek) + 4], (1007,))
    suite.refuse("6.4.4", whole[:6 + len(greek) + 2], (1007,), chop=1)
    valid = {"6.5": [greek], "6.7": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
             "6.9": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
             "6.11": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"],
             "6.22": [b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xf0\x9f\xbf\xbe", b"\xf4\x8f\xbf\xbe"]}
    invalid = {"6.6": [greek[:1], greek[:3], greek[:4], greek[:-1]],
               "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
               "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
               "6.11b": [b"\xf4\x90\x80\x80"], "6.12": [b"\x80", b"\xbf", b"\x80\xbf" * 3],
               "6.13": [bytes([first, 0x20]) for first in (0xC2, 0xDF, 0xE0, 0xEF, 0xF0, 0xF4)],
               "6.14": [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf4\x8f\xbf"],
               "6.15": [b"\xc0\xe0\x80\xf0\x80\x80"], "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
               "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"],
               "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf"],
               "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"],
               "6.20": [b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf"],
               "6.21": [b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf"]}
    for group, texts in valid.items():
        for number, text in enumerate(texts, 1):
            suite.echo(f"{group}.{number}", frame(TEXT, text), [(TEXT, text)])
            suite.echo(f"{group}.{number}.bytes", fragments(TEXT, text, 1), [(TEXT, text)])
    for group, texts in invalid.items():
        for number, text in enumerate(texts, 1):
            suite.refuse(f"{group}.{number}", frame(TEXT, text), (1007,))
            suite.refuse(f"{group}.{number}.bytes", fragments(TEXT, text, 1), (1007,))


def closing(suite):
    hello = [(TEXT, b"Hello")]
    suite.refuse("7.1.1", frame(TEXT, b"Hello") + close_frame(1000), (1000,), hello)
    suite.refuse("7.1.2", close_frame(1000) * 2, (1000,))
    suite.refuse("7.1.3", close_frame(1000) + frame(PING, b"x"), (1000,))
    suite.refuse("7.1.4", close_frame(1000) + frame(TEXT, b"x"), (1000,))
    suite.refuse("7.1.5", frame(TEXT, b"a", False) + close_frame(1000) + frame(0, b"b"), (1000,))
    suite.refuse("7.1.6", frame(TEXT, b"B" * (256 << 10)) + frame(TEXT, b"Hello") + close_frame(1000), (1000,),
                 [(TEXT, b"B" * (256 << 10))] + hello)
    suite.refuse("7.3.1", frame(CLOSE), (1000, 1005))
    suite.refuse("7.3.2", frame(CLOSE, b"a"), (1002,))
    suite.refuse("7.3.3", close_frame(1000), (1000,))
    suite.refuse("7.3.4", close_frame(1000, b"Hello World!"), (1000,))
    suite.refuse("7.3.5", close_frame(1000, b"*" * 123), (1000,))
    suite.refuse("7.3.6", close_frame(1000, b"*" * 124), (1002,))
    suite.refuse("7.5.1", close_frame(1000, b"\xce\xba\xed\xa0\x80"), (1007,))
    for number, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        suite.refuse(f"7.7.{number}", close_frame(code), (code, 1000))
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535), 1):
        suite.refuse(f"7.9.{number}", close_frame(code), (1002,))


def sizes(suite):
    for kind, opcode, unit in ((1, TEXT, b"*"), (2, BINARY, b"\x00")):
        for number, size in enumerate((64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20), 1):
            suite.echo(f"9.{kind}.{number}", frame(opcode, unit * size), [(opcode, unit * size)])
    for number, size in ((3, 64 << 10), (4, 1 << 20)):
        suite.echo(f"9.3.{number}", fragments(TEXT, b"*" * (4 << 20), size), [(TEXT, b"*" * (4 << 20))])
    suite.echo("9.5.1", frame(TEXT, b"*" * (1 << 20)), [(TEXT, b"*" * (1 << 20))], chop=2048)
    for number, size in enumerate((0, 16, 64, 256, 1024), 1):
        payload = b"*" * size
        suite.echo(f"9.7.{number}", frame(TEXT, payload) * 200, [(TEXT, payload)] * 200)
    suite.refuse("9.limit", frame(BINARY, b"\x00" * ((16 << 20) + 1))[:1 << 16], (1009,))
    suite.echo("10.1.1", fragments(TEXT, b"*" * 65536, 1300), [(TEXT, b"*" * 65536)])


def compression(suite):
    text = "".join(f'{{"user":"κ{index}","text":"Hello {index * 7919}"}}' for index in range(4000)).encode()
    noise = hashlib.shake_128(b"starling").digest(1 << 17)
    for kind, opcode, source in ((1, TEXT, text), (2, BINARY, noise)):
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072), 1):
            data = source[:size].decode(errors="ignore").encode() if opcode == TEXT else source[:size]
            suite.squeeze(f"12.{kind}.{number}", "permessage-deflate", [(opcode, data, 0)] * 10)
    data = text[:32768].decode(errors="ignore").encode()
    suite.squeeze("12.5.fragments", "permessage-deflate", [(TEXT, data, 100), (TEXT, data, 0)])
    offers = (("permessage-deflate; client_no_context_takeover; client_max_window_bits", 15),
              ("permessage-deflate; server_no_context_takeover; client_max_window_bits", 15),
              ("permessage-deflate; server_max_window_bits=9; client_max_window_bits", 9),
              ("permessage-deflate; server_max_window_bits=15; client_max_window_bits", 15),
              ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits", 9),
              ("permessage-deflate; server_no_context_takeover; server_max_window_bits=10", 10),
              ("permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=12", 12))
    for number, (offer, bits) in enumerate(offers, 1):
        suite.squeeze(f"13.{number}", offer, [(TEXT, data[:40], 0), (TEXT, data, 0), (BINARY, noise[:5000], 700)], bits)
    for number, offer in enumerate(("permessage-deflate; server_max_window_bits=16", "permessage-bzip2"), 1):
        suite.squeeze(f"13.declined.{number}", offer, [(TEXT, b"plain", 0)], agreed=False)

    def hostile(case, payload, codes):
        def body():
            client = suite.connect("permessage-deflate")
            client.send(frame(TEXT, payload, rsv=4))
            suite.finish(client, codes)
        suite.run(case, body)
    hostile("deflate.malformed", b"\xff\xff\xff\xff", (1007,))
    hostile("deflate.cut", deflate(data)[:200], (1007,))
    hostile("deflate.bomb", deflate(bytes(64 << 20)), (1009,))
    hostile("deflate.utf8", deflate(b"\xed\xa0\x80" * 100), (1007,))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the echo endpoint, as in ws://127.0.0.1:8000/v1/echo")
    parser.add_argument("--case", default="", help="only cases whose id begins so")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for an answer")
    suite = Suite(parser.parse_args())
    for group in (framing, fragmentation, utf8, closing, sizes, compression):
        group(suite)
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())

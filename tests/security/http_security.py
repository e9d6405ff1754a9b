#!/usr/bin/env python3
"""The HTTP cases of the threat list against a gateway, by raw socket: each is answered as named, then the
connection closes. One line of the log and one metric tell of it, a healthy request works beside it, and
neither memory nor a descriptor stays behind.
Usage: --binary PATH"""

import argparse
import socket
import sys
import threading
import time

from cases import report
from gateway import Gateway

HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
UPGRADE = (b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")


def get(headers, line=b"GET /health/live HTTP/1.1"):
    return line + b"\r\n" + headers + b"\r\n"


def post(headers, body=b"", path=b"/v1/broadcast"):
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Authorization: Bearer dev\r\n" + headers + b"\r\n" + body


CASES = [
    ("H1 length and chunked", post(b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    *[("H2 encoding " + repr(v), post(b"Transfer-Encoding: " + v + b"\r\n", b"0\r\n\r\n"), 400)
      for v in (b"chunked, identity", b"xchunked", b"chunked\x0b", b"gzip, chunked", b"")],
    ("H2 two encodings", post(CHUNKED + CHUNKED, b"0\r\n\r\n"), 400),
    *[("H3 length " + repr(v), post(b"Content-Length: " + v + b"\r\n", b"abcde"), 400)
      for v in (b"+5", b"5,5", b"5, 6", b"0x5", b" 5\t", b"9223372036854775808", b"18446744073709551621", b"")],
    ("H4 two lengths", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc"), 400),
    ("H5 bare LF", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("H5 CR alone", get(HOST + b"X:\rY: z\r\n"), 400),
    ("H5 NUL", get(HOST + b"X: a\0b\r\n"), 400),
    ("H5 space before colon", get(b"Host : a\r\n"), 400),
    ("H5 folded", get(HOST + b"X: a\r\n b\r\n"), 400),
    *[("H6 chunk " + repr(v[:24]), post(CHUNKED, v), 400)
      for v in (b"0x1\r\na\r\n0\r\n\r\n", b"1;\na\r\n0\r\n\r\n", b"11111111111111111\r\n", b"-1\r\na\r\n", b"1\r\na0\r\n\r\n",
                b"1;" + b"x" * 65536, b"0\r\nContent-Length: 9\r\n\r\n", b"0\r\nHost: b\r\n\r\n")],
    ("H7 upgrade with a length", get(HOST + UPGRADE + b"Content-Length: 3\r\n", b"GET /v1/ws HTTP/1.1") + b"abc", 400),
    ("H7 upgrade with chunks", get(HOST + UPGRADE + CHUNKED, b"GET /v1/ws HTTP/1.1") + b"0\r\n\r\n", 400),
    ("H8 1.0 and chunked", b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n", 400),
    ("H9 no Host", get(b""), 400),
    ("H9 two Hosts", get(HOST + b"Host: b\r\n"), 400),
    ("H9 bad Host", get(b"Host: a b\r\n"), 400),
    ("H10 another host", get(HOST, b"GET http://b/health/live HTTP/1.1"), 400),
    ("H11 2,000 headers", get(HOST + b"X: y\r\n" * 2000), 431),
    ("H11 64 KB header", get(HOST + b"X: " + b"y" * 70000 + b"\r\n"), 431),
    ("H11 1 MB target", get(HOST, b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1"), 414),
    ("H14 one byte over", post(b"Content-Length: 8388609\r\n"), 413),
    ("H14 10 GB", post(b"Content-Length: 10737418240\r\n"), 413),
    ("H14 chunk over", post(CHUNKED, b"800001\r\n"), 413),
    ("H15 another expectation", post(b"Expect: tea\r\nContent-Length: 1\r\n"), 417),
    ("H19 HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("H19 HTTP/2.0", get(HOST, b"GET / HTTP/2.0"), 505),
    ("H20 a failed upgrade", get(HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"GET /v1/ws HTTP/1.1"), 426),  # Without a version: RFC 6455 4.4.
    ("H17 a binary body", post(b"Content-Length: 4\r\n", b"\xff\0\x81\xfe"), 400),
    ("H17 a binary publication", post(b"Content-Length: 4\r\n", b"\xff\0\x81\xfe", b"/v1/channels/a/messages"), 400),
    ("H17 a binary batch", post(b"Content-Length: 4\r\n", b"\xff\0\x81\xfe", b"/v1/batch"), 400),
    ("H17 no body", post(b"Content-Length: 0\r\nConnection: close\r\n"), 400),
    ("H18 8 MB of lines", post(b"Content-Length: 8388608\r\n", b"\n" * 8388608, b"/v1/batch"), 400),
    ("H18 4 million entries", post(b"Content-Length: 8388605\r\n", b'{"channels":[' + b"0," * 4194295 + b"0]", b"/v1/broadcast"), 400),
    *[(f"H20 refused with {status}: {path.decode()}", get(HOST + headers, b"GET " + path + b" HTTP/1.1"), status)
      for path, headers, status in ((b"/v1/ws?app=nobody", UPGRADE, 404), (b"/v1/ws?app=%ff", UPGRADE, 400),
                                    (b"/v1/ws", UPGRADE.replace(b"13", b"8"), 426), (b"/v1/ws", UPGRADE.replace(b"dGhl", b"dGh"), 400))],
    ("H20 POST", b"POST /v1/ws HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n", 405),
    *[("H22 CR LF in " + path.decode(), get(HOST + b"Authorization: Bearer dev\r\nConnection: close\r\n", b"GET " + path + b" HTTP/1.1"), status)
      for path, status in ((b"/v1/channels/a%0d%0aSet-Cookie:x/messages", 400), (b"/v1/users/a%0d%0ab", 400), (b"/none%0d%0aX:y", 404))],
    *[("W1 key " + repr(key[:30]), get(HOST + UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", key), b"GET /v1/ws HTTP/1.1"), 400)
      for key in (b"", b"dGhlIHNhbXBsZSBub25jZQ=", b"A" * 60, b"????????????????????????")],
    ("W1 no key", get(HOST + UPGRADE.split(b"Sec-WebSocket-Key")[0], b"GET /v1/ws HTTP/1.1"), 400),
    ("W1 two keys", get(HOST + UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"GET /v1/ws HTTP/1.1"), 400),
    *[("W2 version " + v.decode(), get(HOST + UPGRADE.replace(b": 13", b": " + v), b"GET /v1/ws HTTP/1.1"), 426) for v in (b"0", b"7", b"14", b"13, 8")],
    ("W3 no Upgrade", get(HOST + UPGRADE.replace(b"Upgrade: websocket\r\n", b""), b"GET /v1/ws HTTP/1.1"), 400),
    ("H21 gzip", post(b"Content-Encoding: gzip\r\nContent-Length: 1\r\n", b"a"), 415),
]


def exchange(address, sent):
    """All that is answered until the gateway closes; False where it does not close in time."""
    with socket.create_connection(address, timeout=5) as peer:
        try:
            peer.sendall(sent)
        except OSError:
            pass  # Refused before all was sent: the answer is there all the same.
        received = b""
        try:
            while part := peer.recv(65536):
                received += part
        except TimeoutError:
            return received, False
        except OSError:
            pass
        return received, True


def told(gateway):
    """How many lines and how many counted errors there are about refused requests."""
    lines = gateway.lines("http_refused") + gateway.lines("upgrade_refused")
    return len(lines), sum(value for name, value in gateway.metrics().items() if name.startswith("starling_http_errors_total"))


def problem_of(gateway, sent, status):
    files, memory = gateway.descriptors(), gateway.memory()
    lines, errors = told(gateway)
    received, closed = exchange(gateway.address, sent)
    if not received.startswith(b"HTTP/1.1 %d " % status):
        return f"answered {received[:60]!r}, not {status}"
    if received.count(b"\r\n\r\n") != 1:  # One head; no body of ours holds an empty line.
        return "answered more than once"
    if not closed:
        return "the connection stayed open"
    if b"Set-Cookie" in received.partition(b"\r\n\r\n")[0] or b"\nX:y" in received:
        return "the answer was split"
    if status == 426 and b"\r\nSec-WebSocket-Version: 13\r\n" not in received:
        return "the version that is spoken is not told"
    healthy, _ = exchange(gateway.address, get(HOST + b"Connection: close\r\n"))
    if not healthy.startswith(b"HTTP/1.1 200 "):
        return "the next connection was not served"
    for _ in range(100):  # The log is written by another thread.
        if told(gateway)[0] > lines:
            break
        time.sleep(0.01)
    if told(gateway) != (lines + 1, errors + 1):
        return f"told {told(gateway)[0] - lines} times in the log and {told(gateway)[1] - errors} times in the metrics"
    return gateway.settled(files, memory)


def pipelined(address, count=10000):
    """H16: many requests at once are answered in order, the last one with a close."""
    sent = get(HOST) * (count - 1) + get(HOST + b"Connection: close\r\n", b"GET /none HTTP/1.1")
    with socket.create_connection(address, timeout=20) as peer:
        writer = threading.Thread(target=lambda: peer.sendall(sent), daemon=True)
        writer.start()
        received = b""
        try:
            while part := peer.recv(1 << 20):
                received += part
        except OSError as error:
            return f"broke off: {error}"
        writer.join(5)
    answers = received.count(b"HTTP/1.1 200 ")
    return None if answers == count - 1 else f"{answers} of {count - 1} answered"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    with Gateway(arguments.parse_args().binary) as gateway:
        # What the first large bodies leave in the allocator is no leak, so every case runs once before.
        for _, sent, _ in CASES:
            exchange(gateway.address, sent)
        time.sleep(1.1)  # The log tells a hundred refusals a second.
        results = [(name, problem_of(gateway, sent, status)) for name, sent, status in CASES]
        results.append(("H16 pipelined", pipelined(gateway.address)))
        results.append(("the gateway lives", None if gateway.alive() else "it ended"))
    return report(results)


if __name__ == "__main__":
    sys.exit(main())

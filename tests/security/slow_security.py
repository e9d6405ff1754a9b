#!/usr/bin/env python3
"""Peers that are slow on purpose, and floods that never get to the point (H12, H13, H15, H16, W7, W8):
each is ended in its time, and nothing of it is left. Usage: --binary PATH"""

import argparse
import socket
import sys
import threading
import time

from cases import report
from gateway import Gateway
from wire import TEXT, UPGRADE, Client, frame

RATES = ("--limits.frames_per_second=10000", "--limits.frames_burst=10000")
KEY = b"Host: a\r\nAuthorization: Bearer dev\r\n"


def drip(address, head, piece, every, most):
    """Sends `head`, then `piece` again and again; (answer, seconds until the gateway closed)."""
    begin = time.monotonic()
    answer = b""
    with socket.create_connection(address, timeout=every) as peer:
        peer.sendall(head)
        while time.monotonic() - begin < most:
            try:
                part = peer.recv(65536)
                if not part:
                    return answer, time.monotonic() - begin
                answer += part
            except TimeoutError:
                try:
                    peer.sendall(piece)
                except OSError:
                    pass
            except OSError:
                return answer, time.monotonic() - begin
    return answer, None


def ended(address, head, piece, every, earliest, latest, begins):
    answer, after = drip(address, head, piece, every, latest + 5)
    if after is None or not earliest <= after <= latest:
        return f"ended after {after} s, wanted {earliest} to {latest}"
    return None if answer.startswith(begins) else f"answered {answer[:60]!r}"


SLOW = [
    # The head has 10 s whole, however its bytes come; a body three times that.
    ("H12 a byte of headers each second", b"GET /health/live HTTP/1.1\r\nX: ", b"a", 1, 9, 12, b"HTTP/1.1 408 "),
    ("H12 nothing at all", b"", b"", 1, 9, 12, b"HTTP/1.1 408 "),
    ("H12 the second request of a connection", b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET", b"a", 1, 9, 12, b"HTTP/1.1 200 "),
    ("H13 a byte of a body each second", b"POST /v1/broadcast HTTP/1.1\r\nContent-Length: 1000\r\n" + KEY + b"\r\n", b"{", 1, 28, 33, b"HTTP/1.1 408 "),
    ("H13 a chunk each second", b"POST /v1/broadcast HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + KEY + b"\r\n", b"1\r\na\r\n", 1, 28, 33, b"HTTP/1.1 408 "),
    ("H15 100-continue and then nothing", b"POST /v1/broadcast HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n" + KEY + b"\r\n", b"", 1, 28, 33,
     b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 "),
]


def unread_answers(gateway):
    """H16: who asks without end and reads nothing is made to wait; all answers come when it reads."""
    memory = gateway.memory()
    count = 30000
    request = b"GET /demo/app.css HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(gateway.address, timeout=20) as peer:
        def ask():
            peer.sendall(request * (count - 1) + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(1)
        more = gateway.memory() - memory
        if more > 8 << 20:
            return f"{more >> 20} MB for a peer that does not read"
        answers, tail = 0, b""
        while part := peer.recv(1 << 20):
            text = tail + part
            answers += text.count(b"HTTP/1.1 200 OK\r\n")
            # Without what was counted: a mark may be cut in two.
            tail = text[-16:] if not text.endswith(b"HTTP/1.1 200 OK\r\n") else b""
    return None if answers == count else f"{answers} of {count} answered"


def unread_replies(gateway):
    """The same over WebSocket: answers do not count against the queue, and still do not pile up, neither here nor
    on their way from another shard. Of eight channels some are another shard's."""
    most = 0
    for channel in (b"pile%d" % index for index in range(8)):
        client = Client(gateway.address, timeout=20)
        client.connect()
        for _ in range(70):
            client.send(frame(TEXT, b'{"type":"publish","channel":"%s","data":"%s"}' % (channel, b"x" * 60000)))
        client.send(frame(TEXT, b'{"type":"history.get","id":1,"limit":1,"channel":"%s"}' % channel))
        client.until(TEXT)
        memory = gateway.memory()
        asked = range(100, 180)
        # In one piece, so that all are there before the first is answered.
        client.send(b"".join(frame(TEXT, b'{"type":"history.get","id":%d,"channel":"%s"}' % (index, channel)) for index in asked))
        time.sleep(0.7)
        most = max(most, gateway.memory() - memory)
        for index in asked:
            got = client.until(TEXT)
            if got is None or b'"id":%d,' % index not in got[1][:60]:
                return f"answer {index} is {got and got[1][:60]!r}"
        client.close()
    # Eight answers of 4 MiB may be on their way.
    print(f"# {most >> 20} MB for {len(asked)} answers of 4 MB that nobody reads")
    return f"{most >> 20} MB for a peer that does not read" if most > 48 << 20 else None


def early_frames(gateway):
    """W7: frames that come with the upgrade request are the connection's first."""
    with socket.create_connection(gateway.address, timeout=5) as peer:
        peer.sendall((UPGRADE % ("/v1/ws", "")).encode() + frame(TEXT, b'{"type":"connect","id":1,"user":"early"}'))
        received = b""
        while b'"connected"' not in received:
            part = peer.recv(65536)
            if not part:
                return f"ended after {received[:80]!r}"
            received += part
    return None if received.startswith(b"HTTP/1.1 101 ") else f"answered {received[:40]!r}"


def unfinished_upgrades(gateway):
    """W8: many who never finish their upgrade are gone after 10 s, and a healthy one is served meanwhile."""
    peers = [socket.create_connection(gateway.address, timeout=15) for _ in range(500)]
    for peer in peers:
        peer.sendall(b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n")
    healthy = Client(gateway.address)
    if b'"connected"' not in healthy.connect("healthy")[1]:
        return "the healthy one was not connected"
    begin = time.monotonic()
    answers = set()
    for peer in peers:
        text = b""
        while part := peer.recv(65536):
            text += part
        answers.add(text[:13])
        peer.close()
    healthy.close()
    took = time.monotonic() - begin
    return None if answers == {b"HTTP/1.1 408 "} and took < 13 else f"{answers} after {took:.1f} s"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    results = []

    def run(name, story, *given):
        try:
            results.append((name, story(*given)))
        except (OSError, EOFError) as error:
            results.append((name, repr(error)))

    binary = arguments.parse_args().binary
    with Gateway(binary, *RATES) as gateway:
        run("warm", early_frames, gateway)
        files, memory = gateway.descriptors(), gateway.memory()
        slow = [threading.Thread(target=run, args=(name, ended, gateway.address, *rest)) for name, *rest in SLOW]
        for thread in slow:
            thread.start()
        for thread in slow:
            thread.join()
        run("W7 frames with the upgrade", early_frames, gateway)
        run("W8 unfinished upgrades", unfinished_upgrades, gateway)
        results.append(("no memory and no descriptor is left", gateway.settled(files, memory)))
        run("H16 unread answers", unread_answers, gateway)
        results.append(("no descriptor is left", gateway.settled(files, memory)))
        results.append(("the gateway lives", None if gateway.alive() else "it ended"))
    for shards in (1, 4):
        with Gateway(binary, *RATES, shards=shards) as gateway:
            run(f"H16 unread replies, {shards} shards", unread_replies, gateway)
    return report(results)


if __name__ == "__main__":
    sys.exit(main())

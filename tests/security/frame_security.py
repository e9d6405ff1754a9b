#!/usr/bin/env python3
"""WebSocket frames that break the rules or a limit (F), and JSON that does (J), against the native endpoint of
a gateway: the named close code or error, one line of the log, a healthy connection beside it, and
neither memory nor a descriptor is left. Usage: --binary PATH"""

import argparse
import json
import sys
import time

from gateway import Gateway
from wire import BINARY, CLOSE, PING, PONG, TEXT, Client, close_frame, deflate, frame

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
PING_FRAME = b'{"type":"ping","id":7}'
LIMIT = 131072  # frame_bytes

# (name, bytes that a connected client sends, close code)
CASES = [
    ("F-1 unmasked", frame(TEXT, PING_FRAME, masked=False), 1002),
    *[(f"F-2 reserved bits {rsv}", frame(TEXT, PING_FRAME, rsv=rsv), 1002) for rsv in (1, 2, 4, 7)],
    *[(f"F-3 opcode {op}", frame(op, b"x"), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("F-4 a ping of 126", frame(PING, b"x" * 126), 1002),
    ("F-4 a ping in fragments", frame(PING, b"x", final=False), 1002),
    ("F-4 a close of 126", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    ("F-5 a continuation of nothing", frame(0, b"x"), 1002),
    ("F-5 a message within a message", frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), 1002),
    *[(f"F-6 length {size}", frame(TEXT, b"", length=size), 1009) for size in (1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)],
    ("F-7 a short length in 64 bits", frame(TEXT, PING_FRAME, length=len(PING_FRAME)), 1002),
    ("F-7 a short length in 16 bits", b"\x81\xfe\0\x16\0\0\0\0" + PING_FRAME, 1002),
    ("F-8 half a code", frame(CLOSE, b"\x03"), 1002),
    *[(f"F-8 code {code}", close_frame(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)],
    ("F-8 a reason that is not UTF-8", close_frame(1000, b"\xff"), 1007),
    *[(f"F-9 {text.hex()} at {cut}", frame(TEXT, text[:cut], final=False) + frame(0, text[cut:], final=False), 1007)
      for text in (b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80", b"a\xff") for cut in range(1, len(text))],
    ("F-10 a frame over the limit", frame(TEXT, b"x" * (LIMIT + 1)), 1009),
    ("F-10 fragments over the limit", frame(TEXT, b"x" * 65536, final=False) + frame(0, b"x" * 65536, final=False) + frame(0, b"x", final=False), 1009),
    ("F-11 empty fragments", frame(TEXT, b"", final=False) + frame(0, b"", final=False) * 128, 1009),
    ("F-11 fragments of a byte", frame(TEXT, b"x", final=False) + frame(0, b"x", final=False) * 128, 1009),
    ("F-12 pings", frame(PING, b"x") * 100000, 1008),
    ("F-12 pongs", frame(PONG, b"x") * 100000, 1008),
    ("a binary message", frame(BINARY, PING_FRAME), 1003),
]
DEFLATED = [
    ("F-13 a bomb", frame(TEXT, deflate(bytes(128 << 20)), rsv=4), 1009),
    ("F-13 one byte more", frame(TEXT, deflate(b"x" * (LIMIT + 1)), rsv=4), 1009),
    ("F-14 a bomb, then nonsense", frame(TEXT, deflate(bytes(8 << 20))[:-8] + b"\xff" * 8, rsv=4), 1009),
    ("F-14 nonsense", frame(TEXT, b"\xff\xff\xff\xff", rsv=4), 1007),
    ("F-15 cut off", frame(TEXT, deflate(PING_FRAME * 9)[:20], rsv=4), 1007),
    ("F-15 a stored block that is too short", frame(TEXT, b"\0\x40\0\xbf\xffabc", rsv=4), 1007),
    ("F-15 text that is not UTF-8", frame(TEXT, deflate(b"\xed\xa0\x80"), rsv=4), 1007),
]
# (name, text, error code): the connection goes on. J2, J7 and J8 have their tables in tests/protocol/limits.mjs too.
TEXTS = [
    ("J1 10,000 deep", b'{"type":"ping","x":' + b"[" * 10000 + b"]" * 10000 + b"}", "bad_request"),
    ("J1 120,000 deep", b"[" * 120000, "bad_request"),
    ("J2 a key twice", b'{"type":"typing","channel":"a","channel":"b"}', "bad_request"),
    *[("J3 " + number.decode()[:12], b'{"type":"notification.ack","offset":' + number + b"}", "bad_request")
      for number in (b"1e999", b"-0.5", b"1e-400", b"9007199254740993", b"1" * 10000, b"-1", b"01", b"1.")],
    *[("J4 " + repr(text), b'{"type":"subscribe","channel":"' + text + b'"}', "bad_request")
      for text in (rb"\ud800", rb"\u0000", rb"\x41", rb"\u12", b"\n", b"\\")],
    *[("J5 " + repr(text), text, "bad_request") for text in
      (b'\xef\xbb\xbf{"type":"ping"}', b'{"type":"ping",}', b'{"type":"ping"/**/}', b'{"type":"ping","x":NaN}', b"{'type':'ping'}")],
    ("J6 a key of 100 KB", b'{"type":"dance","' + b"k" * 100000 + b'":1}', "bad_request"),
    ("J6 8,000 keys and one twice", b'{"type":"ping",' + b",".join(b'"k%d":1' % (i % 7999) for i in range(8000)) + b"}", "bad_request"),
    ("J9 a batch of commands", b"[" + b",".join([PING_FRAME] * 5000) + b"]", "bad_request"),
    ("J10 of no prototype", b'{"type":"unsubscribe","channel":"__proto__"}', "not_subscribed"),
    ("J11 a second connect", b'{"type":"connect","user":"eve","version":2}', "bad_request"),
    ("J12 announced attachments", b'{"type":"dance","attachments":2147483648}', "bad_request"),
]


class Suite:
    def __init__(self, gateway):
        self.gateway, self.passed, self.failed = gateway, 0, 0
        self.source = "127.0.0.2"           # Of a case's own, so that the log's lines of earlier ones are not taken for its.
        self.healthy = Client(gateway.address)
        self.healthy.connect("healthy")

    def tell(self, name, problem):
        if problem is None:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {name}: {problem}")

    def case(self, name, story, told=True):
        """`story` gives what went wrong, or None; `told`: the log has one line about it."""
        self.source = f"127.0.{(self.passed + self.failed) // 200 + 1}.{(self.passed + self.failed) % 200 + 1}"
        files, memory = self.gateway.descriptors(), self.gateway.memory()
        try:
            problem = story() or self.probe() or self.gateway.settled(files, memory)
        except (OSError, EOFError, ValueError) as error:
            problem = repr(error)
        if problem is None and told:
            end = time.monotonic() + 1
            while not (lines := self.lines()) and time.monotonic() < end:
                time.sleep(0.01)
            problem = None if len(lines) == 1 else f"{len(lines)} lines in the log"
        self.tell(name, problem)

    def lines(self):
        return [line for line in self.gateway.lines("connection_closed") if line["address"] == self.source]

    def probe(self):
        """The connection beside answers, and at once."""
        begin = time.monotonic()
        self.healthy.send(frame(TEXT, PING_FRAME))
        got = self.healthy.until(TEXT)
        if got is None or b'"pong"' not in got[1]:
            return f"the healthy connection got {got!r}"
        took = time.monotonic() - begin
        return None if took < 0.25 else f"the healthy connection waited {took * 1000:.0f} ms"

    def closes(self, data, code, headers=""):
        client = Client(self.gateway.address, headers=headers, source=self.source)
        client.connect()
        client.send(data)
        got = client.closed()
        ended = client.ends() if got == code else True
        client.close()
        if got != code:
            return f"closed with {got}, not {code}"
        return None if ended else "the connection stayed open after its close"

    def refuses(self, text, code):
        client = Client(self.gateway.address)
        client.connect()
        client.send(frame(TEXT, text))
        got = json.loads(client.until(TEXT)[1])
        client.send(frame(TEXT, PING_FRAME))
        after = client.until(TEXT)
        client.close()
        if got.get("code") != code:
            return f"answered {str(got)[:120]}, not {code}"
        return None if after and b'"pong"' in after[1] else "the connection did not go on"


def few_pings(suite):
    """F-12: what a client may do is answered, and a burst by at least its last pong."""
    client = Client(suite.gateway.address)
    client.connect()
    client.send(b"".join(frame(PING, b"%d" % i) for i in range(500)))
    pongs = []
    while not pongs or pongs[-1] != b"499":
        got = client.until(PONG)
        if got is None:
            return f"ended after {len(pongs)} pongs"
        pongs.append(got[1])
    client.close()
    return None if 1 <= len(pongs) < 500 else f"{len(pongs)} pongs for 500 pings at once"


def bomb_before_connect(suite):
    """F-13: nobody needs to be known to send a bomb; it costs a limit's worth."""
    client = Client(suite.gateway.address, headers=DEFLATE)
    client.send(frame(TEXT, deflate(bytes(128 << 20)), rsv=4))
    got = client.closed()
    client.close()
    return None if got == 1009 else f"closed with {got}"


def zero_length(suite):
    """F-15: a compressed message of nothing is a text of nothing."""
    client = Client(suite.gateway.address, headers=DEFLATE)
    client.connect()
    client.send(frame(TEXT, b"\0", rsv=4) + frame(TEXT, deflate(PING_FRAME), rsv=4))
    first, second = client.until(TEXT), client.until(TEXT)
    client.close()
    return None if b'"bad_request"' in first[1] and b'"pong"' in second[1] else f"{first[1][:80]!r}, {second[1][:80]!r}"


def no_early_compression(suite):
    """F-18: what is said before and while a peer becomes known, and every answer to it alone, is not
    compressed; what goes to all of a channel is."""
    gateway = suite.gateway
    before = Client(gateway.address, headers=DEFLATE)
    before.send(frame(TEXT, b'{"type":"dance","x":"' + b"y" * 2000 + b'"}'))
    got = before.until(TEXT)
    before.close()
    if b"permessage-deflate" not in before.head or got[2] != 0:
        return f"an error before connect has the bits {got[2]}"
    client = Client(gateway.address, headers=DEFLATE)
    got = client.connect("u" * 250)
    if got[2] != 0 or b'"resume"' not in got[1]:
        return f"connected has the bits {got[2]}"
    client.send(frame(TEXT, b'{"type":"subscribe","channel":"f18"}') +
                frame(TEXT, b'{"type":"publish","channel":"f18","data":"' + b"z" * 2000 + b'"}'))
    got = client.until(TEXT)
    client.send(frame(TEXT, b'{"type":"history.get","id":9,"channel":"f18"}'))
    answer = client.until(TEXT)
    client.close()
    if got[2] != 4:
        return f"a message of 2 KB to all has the bits {got[2]}"
    return None if answer[2] == 0 else "an answer to one peer is compressed"


def after_close(suite):
    """F-16: nothing that follows a close is looked at, and closes without end change nothing."""
    client = Client(suite.gateway.address)
    client.connect()
    client.send(close_frame(1000) * 1000 + frame(TEXT, PING_FRAME) * 1000)
    got = client.closed()
    more = client.until(TEXT)
    client.close()
    return None if got == 1000 and more is None else f"closed with {got}, then {more!r}"


def never_closing(suite):
    """F-16: a peer that does not answer our close is gone after 5 s."""
    client = Client(suite.gateway.address, timeout=10)
    client.connect()
    client.send(frame(BINARY, b"x"))
    begin = time.monotonic()
    code = client.closed()
    ended = client.ends()
    took = time.monotonic() - begin
    client.close()
    return None if code == 1003 and ended and took < 7 else f"closed with {code}, ended: {ended}, after {took:.1f} s"


def never_connecting(suite):
    """F-19, and L11: many who only upgrade are gone after the time for connect, and cost little."""
    memory = suite.gateway.memory()
    begin = time.monotonic()
    clients = [Client(suite.gateway.address, timeout=15) for _ in range(500)]
    each = (suite.gateway.memory() - memory) / len(clients)
    codes = {client.closed() for client in clients}
    took = time.monotonic() - begin
    for client in clients:
        client.close()
    if codes != {4004} or took > 13:
        return f"closed with {codes} after {took:.1f} s"
    return None if each < 4096 else f"{each:.0f} bytes for each that has not connected"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    with Gateway(arguments.parse_args().binary, "--limits.frames_per_second=10000", "--limits.frames_burst=10000") as gateway:
        suite = Suite(gateway)
        # Once before anything is measured: what the allocator keeps for the first of them is no leak.
        for _, data, code in CASES:
            suite.closes(data, code)
        suite.closes(DEFLATED[0][1], 1009, DEFLATE)
        time.sleep(1.1)
        for name, data, code in CASES:
            suite.case(name, lambda data=data, code=code: suite.closes(data, code), told=not name.startswith("F-8 code"))
        for name, data, code in DEFLATED:
            suite.case(name, lambda data=data, code=code: suite.closes(data, code, DEFLATE))
        for name, text, code in TEXTS:
            suite.case(name, lambda text=text, code=code: suite.refuses(text, code), told=False)
        for story in (few_pings, bomb_before_connect, zero_length, no_early_compression, after_close, never_closing, never_connecting):
            suite.case(story.__doc__.split("\n")[0], lambda story=story: story(suite), told=False)
        suite.tell("the gateway lives", None if gateway.alive() else "it ended")
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed else 0


if __name__ == "__main__":
    sys.exit(main())

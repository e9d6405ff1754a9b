#!/usr/bin/env python3
"""One client that goes through as many names, rooms and people as it can (L3, L4, L7, L8): nothing of it stays, and
those beside it are told no more than a window each. Usage: --binary PATH"""

import argparse
import json
import sys
import time

from cases import name_of, problem_of, report
from gateway import Gateway
from wire import TEXT, Client, frame

RATES = ("--limits.frames_per_second=1000000", "--limits.frames_burst=1000000", "--presence.linger_ms=0")
NAMES = 100000


def many_names(client, first, count):
    """Is present in `count` channels and leaves each, a few at a time."""
    for at in range(first, first + count, 50):
        client.send(b"".join(frame(TEXT, b'{"type":"subscribe","channel":"n%d","presence":true}' % n) +
                             frame(TEXT, b'{"type":"unsubscribe","channel":"n%d"}' % n) for n in range(at, at + 50)) +
                    frame(TEXT, b'{"type":"unsubscribe","id":5,"channel":"none"}'))
        client.texts(lambda value: value.get("id") == 5)


def no_channels(gateway, within=15):
    """A channel is heard for ten seconds after the last one has left."""
    end = time.monotonic() + within
    while (left := gateway.metrics()["starling_channels"]) != 0:
        if time.monotonic() > end:
            return f"{left} channels are left"
        time.sleep(0.1)
    return None


def names_leave_nothing(gateway):
    """L3: 100,000 channel names of one client, each left again, leave no channel, and no memory that the next do not use."""
    client = Client(gateway.address, timeout=30)
    client.connect()
    many_names(client, 0, NAMES // 2)       # What the allocator keeps of the first half is no leak.
    if problem := no_channels(gateway):
        return problem
    files, memory = gateway.descriptors(), gateway.memory()
    many_names(client, NAMES // 2, NAMES // 2)
    problem = gateway.settled(files, memory, within=15) or no_channels(gateway)
    client.close()
    return problem


def deep_names(gateway):
    """L4: a name of separators is a name like any other, and one too long is refused whatever it is made of."""
    client = Client(gateway.address)
    client.connect()
    for text in ("/" * 255, ":" * 255, "{}" * 127, ".." * 127, "*" * 255, "a:" * 100):
        client.send(frame(TEXT, json.dumps({"type": "subscribe", "id": 2, "channel": text}).encode()))
        if client.texts(lambda value: value.get("id") == 2)[-1]["type"] != "subscribed":
            return f"{text[:8]}... was refused"
    for size in (256, 65536):
        client.send(frame(TEXT, json.dumps({"type": "subscribe", "id": 3, "channel": "/" * size}).encode()))
        got = client.texts(lambda value: value.get("id") == 3)[-1]
        if got.get("code") != "too_large":
            return f"{size} separators: {got}"
    client.close()
    return None


def flapping(gateway):
    """L7: who comes and goes 2,000 times is told once a window at most, strictly in turns."""
    watcher, flapper = Client(gateway.address, timeout=20), Client(gateway.address, timeout=20)
    watcher.connect("watcher")
    flapper.connect("flapper")
    watcher.send(frame(TEXT, b'{"type":"subscribe","id":2,"channel":"flap"}'))
    watcher.texts(lambda value: value.get("id") == 2)
    begin = time.monotonic()
    for _ in range(40):
        flapper.send((frame(TEXT, b'{"type":"subscribe","channel":"flap","presence":true}') +
                      frame(TEXT, b'{"type":"unsubscribe","channel":"flap"}')) * 50 + frame(TEXT, b'{"type":"unsubscribe","id":5,"channel":"none"}'))
        flapper.texts(lambda value: value.get("id") == 5)
    flapper.send(frame(TEXT, b'{"type":"subscribe","id":6,"channel":"flap","presence":true}'))
    flapper.texts(lambda value: value.get("id") == 6)
    took = time.monotonic() - begin
    told = []
    while time.monotonic() < begin + took + 5:
        # A window after the last change it is told; the answer comes behind all that was told before.
        watcher.send(frame(TEXT, b'{"type":"presence.get","id":9,"channel":"flap"}'))
        told += watcher.texts(lambda value: value.get("id") == 9)
        changes = [value for value in told if value["type"].startswith("presence.")]
        turns = [kind for value in changes for kind in turns_of(value)]
        if turns and turns[-1] == "join" and told[-1]["count"] == 1:
            break
    # A window is 20 ms, and the end of the last is in it, too.
    if len(changes) > took / 0.02 + 3:
        return f"{len(changes)} frames in {took:.2f} s"
    if any(a == b for a, b in zip(["leave", *turns], turns)) or turns[-1] != "join":
        return f"not in turns: {turns[:20]}"
    watcher.close()
    flapper.close()
    return None if told[-1]["count"] == 1 else f"{told[-1]['count']} present"


def turns_of(value):
    if value["type"] == "presence.diff":
        return ["join"] * len(value["joins"]) + ["leave"] * len(value["leaves"])
    return [value["type"].partition(".")[2]]


def many_people(gateway):
    """L8: 3,000 people in a room one after the other: a watcher is told in windows, and everybody is gone at the end."""
    watcher = Client(gateway.address, timeout=20)
    watcher.connect("watcher")
    watcher.send(frame(TEXT, b'{"type":"subscribe","id":2,"channel":"crowd"}'))
    watcher.texts(lambda value: value.get("id") == 2)
    files, memory = gateway.descriptors(), gateway.memory()
    for round_ in range(30):
        people = [Client(gateway.address, timeout=20) for _ in range(100)]
        for index, person in enumerate(people):
            person.send(frame(TEXT, b'{"type":"connect","user":"p%d"}' % (round_ * 100 + index)) +
                        frame(TEXT, b'{"type":"subscribe","id":2,"channel":"crowd","presence":true}'))
        for person in people:
            person.texts(lambda value: value.get("id") == 2)
            person.close()
    end = time.monotonic() + 10
    while True:
        watcher.send(frame(TEXT, b'{"type":"presence.get","id":9,"channel":"crowd"}'))
        if watcher.texts(lambda value: value.get("id") == 9)[-1]["count"] == 0:
            break
        if time.monotonic() > end:
            return "somebody stayed"
        time.sleep(0.05)
    problem = gateway.settled(files, memory, within=15)
    watcher.close()
    return problem


CASES = [deep_names, flapping, names_leave_nothing, many_people]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    results = []
    for case in CASES:
        with Gateway(binary, *RATES) as gateway:
            results.append((name_of(case), problem_of(case, gateway)))
    return report(results)


if __name__ == "__main__":
    sys.exit(main())

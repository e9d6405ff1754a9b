#!/usr/bin/env python3
"""What comes from Redis, or from whoever else may write there (R-1, R-2, R-4, R-6): it is looked at like a client's
words, and the way there gives no secret away. Needs redis-server. Usage: --binary PATH"""

import argparse
import json
import os
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
from topologies import Standalone  # noqa: E402

from cases import name_of, problem_of, report  # noqa: E402
from gateway import Gateway  # noqa: E402
from wire import TEXT, Client, frame  # noqa: E402

PASSWORD = "a-password-that-is-nowhere-else"


def ask(port, *words):
    """One command of a connection of its own: the reply's bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        text = b""
        for command in ((b"AUTH", PASSWORD.encode()), words):
            command = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            peer.sendall(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command))
            time.sleep(0.01)
        peer.settimeout(0.3)
        try:
            while part := peer.recv(1 << 20):
                text += part
        except TimeoutError:
            pass
    return text.removeprefix(b"+OK\r\n")


def joined(gateway, user, channel):
    client = Client(gateway.address, timeout=15)
    client.connect(user)
    client.send(frame(TEXT, json.dumps({"type": "subscribe", "id": 2, "channel": channel, "presence": True}).encode()))
    client.texts(lambda value: value.get("id") == 2)
    return client


def rubbish_is_dropped(gateway, port):
    """R-4: rubbish on every channel that the node listens to: it lives, tells nobody of it, and goes on in order."""
    client = joined(gateway, "ada", "room")
    client.send(frame(TEXT, b'{"type":"publish","id":3,"channel":"room","data":1}'))
    client.texts(lambda value: value.get("data") == 1)
    channels = [word for word in ask(port, "PUBSUB", "CHANNELS", "*").split(b"\r\n") if word.startswith(b"st:")]
    if not any(b"c:default/room" in name for name in channels) or not any(name.endswith(b"}:nodes") for name in channels):
        return f"the channels are not those: {channels[:5]}"
    good = b"M2:ep1:12:m01:m1:1"
    pieces = [b"", b"\0", b"P", b"M", b"T", b"A", b"X", b"hello", good, b"P2:ep1:3", b"X5:ab", b"T1:a3:ada1:1", b"9" * 70000, b"M99999999999999999999:a",
              b"\x01Q" + b"\0" * 8 + b"\xff" * 8, b"\x01A" + b"\0" * 200, *(os.urandom(size) for size in (1, 7, 64, 1000))]
    for name in channels:
        if b":probe" in name:
            continue
        for piece in pieces:
            ask_fast(port, name, piece)
    client.send(frame(TEXT, b'{"type":"publish","id":4,"channel":"room","data":2}'))
    got = client.texts(lambda value: value.get("data") == 2)
    wrong = [value for value in got if value["type"] not in ("message", "published", "typing.start", "typing.stop")]
    client.close()
    # A chain that does not go on is taken for a gap at most, and told as one.
    return None if all(value.get("code") == "unrecoverable" for value in wrong) else f"told: {wrong[:3]}"


def ask_fast(port, name, piece):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        words = (b"AUTH", PASSWORD.encode()), (b"PUBLISH", name, piece)
        peer.sendall(b"".join(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command) for command in words))
        peer.recv(200)


def corrupt_keys_are_survived(gateway, port):
    """R-4: keys of another type and with other contents, then a join and a publish: an error at most."""
    client = joined(gateway, "ada", "spoiled")
    keys = [word for word in ask(port, "KEYS", "*spoiled*").split(b"\r\n") if word.startswith(b"st:")]
    if not keys:
        return "there are no keys to spoil"
    for key in keys:
        ask(port, "DEL", key)
        ask(port, "SET", key, "rubbish")
    for index, text in enumerate((b'"type":"publish","data":1', b'"type":"history.get"', b'"type":"presence.get"')):
        client.send(frame(TEXT, b'{%s,"id":%d,"channel":"spoiled"}' % (text, index + 10)))
    try:
        for index in range(3):
            client.texts(lambda value, index=index: value.get("id") == index + 10)
    except (TimeoutError, EOFError) as error:
        return f"no answer: {error!r}"
    client.close()
    for key in keys:
        ask(port, "DEL", key)
    other = joined(gateway, "bob", "other")
    other.close()
    return None


def strange_names_stay_apart(gateway, port):
    """R-1, R-2: names with braces, separators and the app's own prefix are channels of their own, in one slot each."""
    names = ["{}", "{other}", "a:b", "a", "default/a", "../a", "c:x}", "a\u2028b", "*", "%2F", "st:{0}:pd:default/a", "x" * 255]
    clients = [joined(gateway, f"u{index}", name) for index, name in enumerate(names)]
    for index, (name, client) in enumerate(zip(names, clients)):
        client.send(frame(TEXT, json.dumps({"type": "publish", "id": 5, "channel": name, "data": index}).encode()))
        client.texts(lambda value: value.get("id") == 5)
    for index, (name, client) in enumerate(zip(names, clients)):
        client.send(frame(TEXT, json.dumps({"type": "history.get", "id": 6, "channel": name}).encode()))
        messages = client.texts(lambda value: value.get("id") == 6)[-1]["messages"]
        if [message["data"] for message in messages] != [index]:
            return f"{name[:20]}: {messages}"
        client.send(frame(TEXT, json.dumps({"type": "presence.get", "id": 7, "channel": name}).encode()))
        users = [user["userId"] for user in client.texts(lambda value: value.get("id") == 7)[-1]["users"]]
        if users != [f"u{index}"]:
            return f"{name[:20]}: {users}"
        client.close()
    return None


def no_password_is_told(gateway, port):
    """R-6: the password of Redis stands in no line of the log and in no answer, also where it is refused."""
    if PASSWORD.encode() in gateway.log.read_bytes():
        return "it is in the log"
    flags = "--engine.type=redis", f"--redis.url=redis://:{PASSWORD}-wrong@127.0.0.1:{port}"
    with Gateway(gateway.binary, *flags, scheme="unready") as other:
        end = time.monotonic() + 5
        while b"WRONGPASS" not in (log := other.log.read_bytes()):
            if time.monotonic() > end:
                return "nothing was told of a refused one"
            time.sleep(0.05)
        answers = "".join(other.get(path, admin=True)[1] for path in ("/metrics", "/health/ready"))
        return "a refused one is told" if PASSWORD.encode() in log or PASSWORD in answers else None


CASES = [rubbish_is_dropped, corrupt_keys_are_survived, strange_names_stay_apart, no_password_is_told]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    with Standalone(PASSWORD) as redis:
        port = redis.primary().port
        with Gateway(binary, "--engine.type=redis", f"--redis.url=redis://:{PASSWORD}@127.0.0.1:{port}") as gateway:
            gateway.binary = binary
            return report([(name_of(case), problem_of(case, gateway, port)) for case in CASES])


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""A healthy connection beside 500 parallel ones whose tokens are refused (T13), seen from a process of its own:
the flood comes from another, so what is measured is the gateway and not the flood's own queue.
Usage: --binary PATH"""

import argparse
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from gateway import Gateway
from wire import TEXT, Client, frame

# On an idle machine the target is 20 ms (7 to 14 on two cores); a shared one with its cores taken shows other people's work too.
P99_MS = 250


def part(value):
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()


def refused_token(index):
    """Well formed, for the key that is configured, and signed by nobody: the costly way to be refused."""
    return f"{part({'alg': 'ES256', 'kid': f'k{index}'})}.{part({'sub': 'ada', 'n': index})}.{part(os.urandom(64))}"


def flood(port, count):
    """`count` connections, open at the same time, then refused one after the other; prints how many were."""
    clients = [Client(("127.0.0.1", port), timeout=20) for _ in range(count)]
    for index, client in enumerate(clients):
        client.send(frame(TEXT, json.dumps({"type": "connect", "token": refused_token(index)}).encode()))
    print(sum(client.closed() == 4001 for client in clients))
    for client in clients:
        client.close()


def key_pair(folder):
    private, public = pathlib.Path(folder, "private.pem"), pathlib.Path(folder, "public.pem")
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "ec", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return public


def measure(gateway, busy):
    """Round trips in ms of a healthy connection, 5 ms apart, while `busy` says so."""
    client = Client(gateway.address)
    client.send(frame(TEXT, b'{"type":"connect","id":1,"token":"%s"}' % healthy_token()))
    if b'"connected"' not in client.until(TEXT)[1]:
        raise RuntimeError("the healthy one was refused")
    times = []
    while busy():
        begin = time.perf_counter()
        client.send(frame(TEXT, b'{"type":"ping","id":7}'))
        client.until(TEXT)
        times.append((time.perf_counter() - begin) * 1000)
        time.sleep(0.005)
    client.close()
    return sorted(times)


SECRET = "a secret of more than thirty-two bytes for tests"


def healthy_token():
    import hashlib
    import hmac
    text = f"{part({'alg': 'HS256'})}.{part({'sub': 'healthy'})}"
    return f"{text}.{part(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest())}".encode()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary")
    arguments.add_argument("--flood-port", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.flood_port:
        return flood(given.flood_port, 500)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        config = (f'[[apps]]\nid = "default"\n[[apps.token_keys]]\nalgorithm = "ES256"\npublic_key_file = "{key_pair(folder)}"\n'
                  f'[[apps.token_keys]]\nalgorithm = "HS256"\nsecret = "{SECRET}"\n')
        with Gateway(given.binary, "--limits.frames_per_second=1000", config=config) as gateway:
            def storm():
                return subprocess.Popen([sys.executable, __file__, f"--flood-port={gateway.port}"], stdout=subprocess.PIPE, text=True)
            storm().communicate()  # What the first of them leaves in the allocator is no leak.
            files, memory = gateway.descriptors(), gateway.memory()
            end = time.monotonic() + 1
            alone = measure(gateway, lambda: time.monotonic() < end)
            child = storm()
            times = measure(gateway, lambda: child.poll() is None)
            refused = int(child.stdout.read() or 0)
            p99, idle = (values[int(len(values) * 0.99)] for values in (times, alone))
            print(f"# round trips beside 500 refused tokens: p99 {p99:.1f} ms of {len(times)}; alone {idle:.1f} ms")
            if refused != 500:
                failed.append(f"{refused} of 500 refused with 4001")
            if p99 > P99_MS:
                failed.append(f"p99 is {p99:.1f} ms")
            if left := gateway.settled(files, memory):
                failed.append(left)
    for problem in failed:
        print(f"FAIL {problem}")
    print(f"{3 - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What a connection and a message may cost, against bench/budget.json.

Bytes: 2,000 connections, each with a user and one channel, on a gateway of its own; heap for each. The same present in three rooms
of ten; and present in one over three nodes and a Redis, where redis-server is installed, for all nodes together.
Instructions: rounds of bench/micro/ under valgrind --tool=callgrind, where that is installed. Both are repeatable,
also on a machine that others use; times are not, and are not tested.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import resource
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUDGET = json.loads((ROOT / "bench" / "budget.json").read_text())
CONNECTIONS = 2000
NODES = 3


def anonymous(process):
    """Bytes of heap and stacks. Not all of Pss: the libraries' share of it changes with every other process that begins or ends."""
    text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.search(r"^Pss_Anon:\s+(\d+)", text, re.M)[1]) * 1024


def frame(value):
    payload = json.dumps(value).encode()
    mask = b"\x01\x02\x03\x04"
    head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else struct.pack(">BBH", 0x81, 0xFE, len(payload))
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def open_client(port, index, rooms):
    """Present in so many rooms of ten; in none: one of those who listen to a large channel."""
    channels = [(f"room-{room}-{index // 10}", "members") for room in range(rooms)] or [(f"large-{index % 20}", "none")]
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall((f"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode()
                   + frame({"type": "connect", "user": f"user-{index}"})
                   + b"".join(frame({"type": "subscribe", "id": number, "channel": channel, "watch": watch, "presence": rooms > 0})
                              for number, (channel, watch) in enumerate(channels, 1)))
    return client


def wait_for(client, word, times):
    heard = b""
    while heard.count(word) < times:
        piece = client.recv(65536)
        if not piece:
            raise OSError("the gateway closed: " + heard.decode(errors="replace"))
        heard += piece


def line_of(process, pattern, seconds=30):
    """What the process says that matches, as soon as it is said on its standard output."""
    said, end = b"", time.monotonic() + seconds
    while (found := re.search(pattern, said.decode(errors="replace"))) is None:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not piece:
            raise OSError(f"{process.args[0]} did not say {pattern}: " + said.decode(errors="replace"))
        said += piece
    return found


def at_rest(measure, pause=0.2, seconds=10):
    """A measure without an event that says when it is done, as memory: once it is the same twice in a row, within a page for each
    connection in a hundred."""
    last, end = measure(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(pause)
        now = measure()
        if abs(now - last) <= CONNECTIONS // 100 * resource.getpagesize():
            return now
        last = now
    return last


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def bytes_on_a_cluster(binary):
    port = free_port()
    redis = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        line_of(redis, "eady to accept connections")
        return bytes_per_connection(binary, 1, NODES, "--engine.type=redis", f"--redis.url=redis://127.0.0.1:{port}")
    finally:
        redis.kill()
        redis.wait()
        redis.stdout.close()


class Gateway:
    def __init__(self, binary, *arguments):
        self.process = subprocess.Popen([binary, "serve", "--dev", "--server.listen=127.0.0.1:0", "--server.admin=127.0.0.1:0",
                                         "--server.shards=1", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def port(self):
        return int(line_of(self.process, r"public http://127\.0\.0\.1:(\d+)\n")[1])

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def bytes_per_connection(binary, rooms, nodes=1, *flags):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gateways = [Gateway(binary, *flags) for _ in range(nodes)]
    clients = []

    def total():
        return sum(anonymous(gateway.process.pid) for gateway in gateways)

    try:
        ports = [gateway.port() for gateway in gateways]

        def open_next():
            index = len(clients)
            clients.append(open_client(ports[index % nodes], index, rooms))
            return clients[-1]

        # The first ones pay for what all share.
        for _ in range(CONNECTIONS // 20 * nodes):
            wait_for(open_next(), b'"subscribed"', max(1, rooms))
        before, paid = at_rest(total), len(clients)
        while len(clients) < CONNECTIONS + paid:
            for client in [open_next() for _ in range(50)]:
                wait_for(client, b'"subscribed"', max(1, rooms))
        return (at_rest(total) - before) / CONNECTIONS
    finally:
        for client in clients:
            client.close()
        for gateway in gateways:
            gateway.end()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def instructions(micro, scenario, rounds):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", micro, scenario, str(rounds)],
                          capture_output=True, text=True, timeout=600)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise OSError(done.stderr[-500:])
    return int(found[1])


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, measured, budget, unit):
        well = measured <= budget
        self.passed, self.failed = self.passed + well, self.failed + (not well)
        print(f"{'ok  ' if well else 'FAIL'} {name}: {measured:.0f} {unit}, budget {budget}", flush=True)
        if well and measured < 0.8 * budget:
            print(f"     the budget is loose: {budget} could be {measured * 1.1:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/release/starling", help="the gateway")
    options = parser.parse_args()
    tally = Tally()
    for rooms, what in ((0, "memory of an idle connection"), (3, "memory of a connection, present in three rooms of ten")):
        budget = BUDGET["heap_bytes_per_connection" if rooms == 0 else "heap_bytes_per_connection_in_three_rooms"]
        tally.check(what, min(bytes_per_connection(options.binary, rooms) for _ in range(2)), budget, "bytes")
    if shutil.which("redis-server"):
        tally.check("memory of a connection on a cluster, present in a room of ten",
                    min(bytes_on_a_cluster(options.binary) for _ in range(2)), BUDGET["heap_bytes_per_connection_on_a_cluster"], "bytes")
    else:
        print("skip memory on a cluster: no redis-server")
        tally.skipped += 1
    micro = options.binary.parent / "bench" / "starling_micro"
    if shutil.which("valgrind") is None or not micro.exists():
        print("skip instruction counts: " + ("no valgrind" if micro.exists() else f"{micro} is not built"))
        tally.skipped += len(BUDGET["instructions"])
    else:
        for scenario, entry in BUDGET["instructions"].items():
            rounds = entry["rounds"]
            # Twice as many rounds less once as many: what it takes to begin is not in it.
            count = (instructions(micro, scenario, 2 * rounds) - instructions(micro, scenario, rounds)) / rounds
            tally.check(f"{scenario} ({entry['what']})", count, entry["budget"], "instructions")
    print(f"{tally.passed} passed, {tally.failed} failed" + (f", {tally.skipped} skipped" if tally.skipped else ""))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())

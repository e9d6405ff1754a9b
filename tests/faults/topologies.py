#!/usr/bin/env python3
"""Redis on loopback in its three forms: one server, a primary with replicas and sentinels, a cluster.

As a module: `with Standalone() as redis: redis.url`, `Sentinel()`, `Cluster()`. As a program it prints a line of JSON
{"url": ..., "servers": [{"port", "pid", "role"} ...]}, then obeys one command a line from standard input and answers
each with a line of JSON, and ends with everything it started when standard input ends:

  kill PORT | pause PORT | resume PORT | restart PORT    a process, by SIGKILL, SIGSTOP, SIGCONT
  kill-data | launch-data | pause-data | resume-data      all but the sentinels; launched empty, and it ends when they are in step
  flush                                                   FLUSHALL on every primary
  failover                                                Sentinel: by request; cluster: the first primary's replica
  move-slot SLOT                                          cluster: with its keys, to the next primary
  primary [SLOT] | primaries                              who it is now
  ask PORT WORD...                                        any command, without spaces in its words

Nothing that it starts outlives it.
"""

import argparse
import ctypes
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

PR_SET_PDEATHSIG = 1


reserved = []


def free_port():
    """Ours until the process ends: else another one that runs at the same time may be given it before a server listens there,
    and two clusters become one. Below the ports that the kernel gives to those who call."""
    while True:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", random.randrange(20000, 32000)))
        except OSError:
            probe.close()
            continue
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # So may a server that says the same.
        reserved.append(probe)
        return probe.getsockname()[1]


def die_with_parent(how=signal.SIGKILL):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)


def eventually(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            value = condition()
            if value:
                return value
        except (OSError, RedisError):
            pass
        time.sleep(0.05)
    raise RuntimeError(f"not within {seconds} s: {what}")


class RedisError(Exception):
    pass


def ask(port, *words, password=None, timeout=5):
    """One command on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as link:
        file = link.makefile("rb")
        if password:
            link.sendall(encode("AUTH", password))
            read(file)
        link.sendall(encode(*words))
        return read(file)


def encode(*words):
    words = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def read(file):
    line = file.readline()
    if not line:
        raise OSError("closed")
    kind, rest = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise RedisError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else file.read(int(rest) + 2)[:-2].decode()
    if kind == b"*":
        return [read(file) for _ in range(int(rest))]
    return rest


class Server:
    """One process: redis-server with options as on its command line."""

    def __init__(self, folder, role, *options, port=None):
        self.port, self.role, self.options = port or free_port(), role, options
        self.folder = pathlib.Path(folder) / str(self.port)
        self.folder.mkdir()
        self.password = None
        self.process = None
        self.seen_as = self.port                # Where the others find it: through a proxy, perhaps.

    def launch(self):
        if self.role == "sentinel":             # A sentinel writes into its file.
            command = ["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                       "--dir", str(self.folder), "--enable-debug-command", "local", *self.options]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        eventually(lambda: self.ask("PING") == "PONG", 10, f"the server on {self.port} answers")

    def ask(self, *words):
        return ask(self.port, *words, password=self.password)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def restart(self):
        self.kill()
        self.launch()


class Topology:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="starling-redis-")
        self.servers = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, role, *options, **named):
        server = Server(self.folder, role, *options, **named)
        self.servers.append(server)
        return server

    def server(self, port):
        return next(one for one in self.servers if int(port) in (one.port, one.seen_as))

    def primaries(self):
        found = []
        for server in self.servers:
            if server.role != "sentinel" and server.process.poll() is None:
                try:
                    if server.ask("ROLE")[0] == "master":
                        found.append(server)
                except (OSError, RedisError):
                    pass
        return found

    def data(self):
        return [one for one in self.servers if one.role != "sentinel"]

    def in_step(self):
        return True

    def launch_data(self):
        for server in self.data():
            server.launch()
        eventually(self.in_step, 30, "all are in step again")

    def flush(self):
        for server in self.primaries():
            server.ask("FLUSHALL")

    def describe(self):
        return {"url": self.url,
                "servers": [{"port": one.port, "pid": one.process.pid, "role": one.role} for one in self.servers]}


class Standalone(Topology):
    def __init__(self, password=None, options=()):
        super().__init__()
        self.password, self.options = password, options

    def start(self):
        server = self.add("primary", *(["--requirepass", self.password] if self.password else []), *self.options)
        server.password = self.password
        server.launch()
        self.url = f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{server.port}"

    def primary(self):
        return self.servers[0]


class Sentinel(Topology):
    NAME = "main"

    def __init__(self, replicas=2, sentinels=3, down_after_ms=1000, primary_port=None, seen_as=None):
        super().__init__()
        self.primary_port, self.seen_as = primary_port, seen_as
        self.replica_count, self.sentinel_count, self.down_after_ms = replicas, sentinels, down_after_ms

    def start(self):
        first = self.add("primary", "--repl-diskless-sync-delay", "0", port=self.primary_port)
        first.seen_as = self.seen_as or first.port
        first.launch()
        for _ in range(self.replica_count):
            self.add("replica", "--replicaof", f"127.0.0.1 {first.seen_as}", "--repl-diskless-sync-delay", "0").launch()
        quorum = self.sentinel_count // 2 + 1
        for _ in range(self.sentinel_count):
            sentinel = self.add("sentinel")
            (sentinel.folder / "sentinel.conf").write_text(
                f"port {sentinel.port}\nbind 127.0.0.1\ndir {sentinel.folder}\n"
                f"sentinel monitor {self.NAME} 127.0.0.1 {first.seen_as} {quorum}\n"
                f"sentinel down-after-milliseconds {self.NAME} {self.down_after_ms}\n"
                f"sentinel failover-timeout {self.NAME} 5000\nsentinel parallel-syncs {self.NAME} 2\n")
            sentinel.launch()
        eventually(self.complete, 20, "the sentinels know each other and the replicas are in step")
        self.url = "redis+sentinel://" + ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels()) + "/" + self.NAME

    def sentinels(self):
        return [one for one in self.servers if one.role == "sentinel"]

    def complete(self):
        for sentinel in self.sentinels():
            words = sentinel.ask("SENTINEL", "MASTER", self.NAME)
            fields = dict(zip(words[::2], words[1::2]))
            if int(fields["num-other-sentinels"]) != self.sentinel_count - 1 or int(fields["num-slaves"]) != self.replica_count:
                return False
        return self.in_step()

    def in_step(self):
        """One primary, and every other data server that is alive follows it."""
        roles = [one.ask("ROLE") for one in self.servers if one.role != "sentinel" and one.process.poll() is None]
        return (sum(role[0] == "master" for role in roles) == 1 and
                all(role[3] == "connected" for role in roles if role[0] == "slave"))

    def primary(self):
        for sentinel in self.sentinels():
            try:
                return self.server(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)[1])
            except (OSError, RedisError):
                continue
        raise RuntimeError("no sentinel answers")

    def failover(self):
        self.sentinels()[0].ask("SENTINEL", "FAILOVER", self.NAME)


class Cluster(Topology):
    def __init__(self, primaries=3, replicas=1, node_timeout_ms=1500, ports=(), seen_as=()):
        super().__init__()
        self.ports, self.seen_as = ports, seen_as
        self.primary_count, self.replica_count, self.node_timeout_ms = primaries, replicas, node_timeout_ms

    def start(self):
        for index in range(self.primary_count * (1 + self.replica_count)):
            port, bus = self.ports[index] if self.ports else (free_port(), free_port())
            seen = self.seen_as[index] if self.seen_as else (port, bus)
            server = self.add("primary" if index < self.primary_count else "replica", "--cluster-enabled", "yes",
                              "--cluster-node-timeout", str(self.node_timeout_ms), "--cluster-port", str(bus),
                              "--cluster-announce-port", str(seen[0]), "--cluster-announce-bus-port", str(seen[1]),
                              "--repl-diskless-sync-delay", "0", port=port)
            server.seen_as, server.bus_seen_as = seen
            server.launch()
        first = self.servers[0]
        for index, server in enumerate(self.servers):
            if index < self.primary_count:
                server.ask("CLUSTER", "ADDSLOTSRANGE", index * 16384 // self.primary_count,
                           (index + 1) * 16384 // self.primary_count - 1)
                server.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if server is not first:
                server.ask("CLUSTER", "MEET", "127.0.0.1", first.seen_as, first.bus_seen_as)
        ids = [server.ask("CLUSTER", "MYID") for server in self.servers]
        eventually(lambda: all(len(self.nodes(one)) == len(ids) for one in self.servers), 20, "the nodes know each other")
        for index, server in enumerate(self.servers[self.primary_count:]):
            eventually(lambda: server.ask("CLUSTER", "REPLICATE", ids[index % self.primary_count]) == "OK", 10, "a replica follows")
        eventually(self.complete, 30, "the cluster is complete")
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{one.seen_as}" for one in self.servers[:self.primary_count])

    def nodes(self, server):
        return [line.split() for line in server.ask("CLUSTER", "NODES").splitlines()]

    def complete(self):
        replicas = self.primary_count * self.replica_count
        return all("cluster_state:ok" in one.ask("CLUSTER", "INFO") and
                   sum("slave" in row[2] for row in self.nodes(one)) == replicas and
                   not any("fail" in row[2] or "handshake" in row[2] for row in self.nodes(one)) and
                   (one.role == "primary" or one.ask("ROLE")[3] == "connected")
                   for one in self.servers)

    in_step = complete

    def slots(self):
        """[(first, last, port)] as a majority of primaries sees it: the newest that answers."""
        for server in self.primaries():
            try:
                return [(first, last, node[1]) for first, last, node, *_ in server.ask("CLUSTER", "SLOTS")]
            except (OSError, RedisError):
                continue
        raise RuntimeError("no primary answers")

    def primary(self, slot=0):
        return self.server(next(port for first, last, port in self.slots() if first <= int(slot) <= last))

    def failover(self):
        primary = self.primary()
        own = primary.ask("CLUSTER", "MYID")
        row = next(row for row in self.nodes(primary) if row[3] == own)
        replica = self.server(row[1].split("@")[0].rsplit(":", 1)[1])
        replica.ask("CLUSTER", "FAILOVER")
        eventually(lambda: replica.ask("ROLE")[0] == "master", 10, "the replica is promoted")

    def move_slot(self, slot):
        """As redis-cli --cluster reshard does it; returns the new owner."""
        source = self.primary(slot)
        others = sorted({port for *_, port in self.slots() if port != source.port})
        target = self.server(next((port for port in others if port > source.port), others[0]))
        source_id, target_id = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        target.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        source.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        for server in self.primaries():
            if server not in (source, target):
                server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        return target


def obey(topology, words):
    verb, *rest = words
    if verb in ("kill", "pause", "resume", "restart"):
        getattr(topology.server(rest[0]), verb)()
    elif verb in ("kill-data", "pause-data", "resume-data"):
        for server in topology.data():
            getattr(server, verb.removesuffix("-data"))()
    elif verb == "launch-data":
        topology.launch_data()
    elif verb == "primaries":
        return {"ports": [one.port for one in topology.primaries()]}
    elif verb in ("flush", "failover"):
        getattr(topology, verb)()
    elif verb == "move-slot":
        return {"port": topology.move_slot(int(rest[0])).port}
    elif verb == "primary":
        return {"port": topology.primary(*rest).port}
    elif verb == "ask":
        return {"answer": topology.server(rest[0]).ask(*rest[1:])}
    else:
        return {"error": f"unknown command {verb}"}
    return {}


def pairs(text):
    return [tuple(int(port) for port in pair.split(":")) for pair in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=["standalone", "sentinel", "cluster"])
    parser.add_argument("--password", help="of the standalone server")
    parser.add_argument("--ports", type=pairs, default=(), help="cluster: PORT:BUS,... of the servers")
    parser.add_argument("--all-seen-as", type=pairs, default=(), help="cluster: the ports by which each is known")
    parser.add_argument("--primary-port", type=int, help="Sentinel: of the first primary")
    parser.add_argument("--seen-as", type=int, help="Sentinel: the port by which replicas, sentinels and clients know the first primary")
    options = parser.parse_args()
    die_with_parent(signal.SIGINT)          # So that the folder is removed.
    topology = {"standalone": lambda: Standalone(options.password), "sentinel": lambda: Sentinel(primary_port=options.primary_port, seen_as=options.seen_as),
                "cluster": lambda: Cluster(ports=options.ports, seen_as=options.all_seen_as)}[options.form]()
    with topology:
        print(json.dumps(topology.describe()), flush=True)
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                answer = obey(topology, line.split())
            except (OSError, RuntimeError, RedisError, StopIteration, AttributeError, TypeError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The way to Redis on real servers: password, restart, TLS, Sentinel failovers, cluster failover and slot moves.

Needs redis-server and the built redis_console beside --binary.
"""

import argparse
import pathlib
import queue
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
from topologies import Cluster, Sentinel, Standalone, die_with_parent, eventually  # noqa: E402

PARTITIONS = 8


class Console:
    """A redis_console; `seen` holds every line that it printed."""

    def __init__(self, program, url, *more):
        self.process = subprocess.Popen([program, url, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)
        self.lines, self.seen, self.calls = queue.Queue(), [], 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def pull(self):
        while not self.lines.empty():
            self.seen.append(self.lines.get())
        return self.seen

    def count(self, start):
        return sum(line.startswith(start) for line in self.pull())

    def expect(self, start, times=1, seconds=10):
        try:
            eventually(lambda: self.count(start) >= times, seconds, f"{times} of '{start}'")
        except RuntimeError as error:
            raise AssertionError(f"{error}; it said:\n  " + "\n  ".join(self.seen[-40:])) from None

    def forget(self):
        self.pull()
        self.seen.clear()

    def call(self, partition, text="x"):
        """The answer of one call: a number, or why not."""
        self.calls += 1
        start = f"answer {self.calls} "
        self.say(f"call {self.calls} {partition} {text}")
        self.expect(start)
        return next(line for line in self.seen if line.startswith(start))[len(start):]

    def call_until_done(self, partition, text="x", seconds=15):
        return eventually(lambda: (answer := self.call(partition, text)).isdigit() and answer, seconds, "a call is done")

    def call_until_heard(self, partition, text, seconds=30):
        """What is announced before the subscription is confirmed again is missed, and told so."""
        def heard():
            self.call_until_done(partition, text)
            time.sleep(0.1)
            return self.count(f"pushed {partition} c {text}")
        eventually(heard, seconds, f"{text} is heard in {partition}")

    def all_up(self, seconds=10):
        for partition in range(PARTITIONS):
            self.expect(f"up {partition} ", seconds=seconds)


def password(program):
    with Standalone(password="p@ss word") as redis:
        port = redis.servers[0].port
        with Console(program, f"redis://:p%40ss%20word@127.0.0.1:{port}/3") as console:
            console.all_up()
            console.say("subscribe 2 c")
            console.expect("subscribed 2 c")
            assert console.call(2, "hello") == "1"
            console.expect("pushed 2 c hello")
        with Console(program, f"redis://:wrong@127.0.0.1:{port}") as console:
            console.expect("found 127.0.0.1:")
            assert "AUTH is refused (WRONGPASS)" in console.seen[0], console.seen
            assert console.call(1).startswith("failed")
            assert not any("wrong" in line.lower().replace("wrongpass", "") for line in console.pull())


def acl(program):
    """A user with no more than what docs/OPERATIONS.md names."""
    with Standalone() as redis:
        redis.servers[0].ask("ACL", "SETUSER", "star", "on", ">pass", "~st:*", "&st:*", "&ws:*", "-@all",
                             *(f"+{name}" for name in ("ping", "info", "role", "select", "eval", "evalsha", "subscribe",
                                                      "unsubscribe", "psubscribe", "publish", "rpush")))
        with Console(program, f"redis://star:pass@127.0.0.1:{redis.servers[0].port}") as console:
            console.all_up()
            console.say("subscribe 2 c")
            console.expect("subscribed 2 c")
            assert console.call(2, "hello") == "1"
            console.expect("pushed 2 c hello")
            found = [line for line in console.pull() if line.startswith("found")]
            assert len(found) == 1 and "CONFIG GET is not allowed" in found[0], found
            # The receiving path stays proven.
            time.sleep(4)
            assert console.count("missed") == 0


def restart(program):
    with Standalone() as redis, Console(program, redis.url) as console:
        console.all_up()
        for name in ("a", "b"):
            console.say(f"subscribe 1 {name}")
            console.expect(f"subscribed 1 {name}")
        console.forget()
        redis.servers[0].kill()
        console.expect("down", PARTITIONS)
        console.expect("missed 1", 2)
        assert console.call(1).startswith("failed")
        redis.servers[0].launch()
        console.all_up()
        console.expect("subscribed 1", 2)
        assert console.call(1) == "1"
        # A process that hangs: late, unknown, then there again.
        console.forget()
        redis.servers[0].pause()
        assert console.call(1).startswith("unknown")
        console.expect("down", PARTITIONS)
        redis.servers[0].resume()
        console.all_up()
        console.call_until_done(1)
        # Scripts that were flushed are sent again.
        redis.servers[0].ask("SCRIPT", "FLUSH")
        assert console.call(1).isdigit()
        redis.servers[0].ask("CONFIG", "SET", "maxmemory", "1mb")
        assert console.call(1).startswith("failed OOM")
        # A subscriber that the server throws out.
        console.forget()
        redis.servers[0].ask("CLIENT", "KILL", "TYPE", "pubsub")
        console.expect("missed 1", 2)
        console.expect("subscribed 1", 2)


def many_subscriptions(program):
    with Standalone() as redis, Console(program, redis.url) as console:
        console.all_up()
        began = time.monotonic()
        console.process.stdin.write("".join(f"subscribe {i} n{i}\n" for i in range(100_000)))
        console.process.stdin.flush()
        console.expect("subscribed", 100_000, 30)
        console.forget()
        redis.servers[0].ask("CLIENT", "KILL", "TYPE", "pubsub")
        console.expect("missed", 100_000, 30)
        console.expect("subscribed", 100_000, 30)
        assert console.call(1).isdigit()
        print(f"  100,000 subscriptions, lost and made again: {time.monotonic() - began:.1f} s")


def tls(program):
    with Standalone() as redis:
        folder = pathlib.Path(redis.folder)
        command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test "
                   "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem")
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
        port = redis.servers[0].port
        redis.servers[0].kill()
        # The plain port stays, for the test itself.
        from topologies import free_port
        secure = free_port()
        redis.servers[0].options = ("--tls-port", str(secure), "--tls-cert-file", f"{folder}/certificate.pem",
                                    "--tls-key-file", f"{folder}/key.pem", "--tls-ca-cert-file", f"{folder}/certificate.pem",
                                    "--tls-auth-clients", "no")
        redis.servers[0].launch()
        with Console(program, f"rediss://127.0.0.1:{secure}", f"{folder}/certificate.pem") as console:
            console.all_up()
            console.say("subscribe 2 c")
            console.expect("subscribed 2 c")
            assert console.call(2, "hello") == "1"
            console.expect("pushed 2 c hello")
        with Console(program, f"rediss://127.0.0.1:{secure}") as console:
            console.expect("found 127.0.0.1:")
            assert "TLS: self" in console.seen[0], console.seen
        with Console(program, f"rediss://127.0.0.1:{port}", f"{folder}/certificate.pem") as console:
            console.expect("found 127.0.0.1:")


def sentinel(program):
    with Sentinel() as redis, Console(program, redis.url) as console:
        console.all_up()
        console.say("subscribe 1 c")
        console.expect("subscribed 1 c")
        assert console.call(1) == "1"
        # By request: the old primary becomes a replica.
        console.forget()
        old = redis.primary()
        redis.failover()
        eventually(lambda: redis.primary() is not old, 20, "the sentinels have switched")
        console.all_up(20)
        console.expect("missed 1 c")
        console.expect("subscribed 1 c")
        console.call_until_done(1, "after")
        console.expect("pushed 1 c after")
        eventually(redis.in_step, 30, "all replicas follow")
        # The primary dies.
        console.forget()
        old = redis.primary()
        old.kill()
        console.expect("down", PARTITIONS)
        console.all_up(30)
        another_primary(redis, old)
        console.call_until_done(1)
        # One that hangs is left, and not believed when it returns.
        old.launch()
        eventually(redis.in_step, 30, "all replicas follow")
        console.forget()
        old = redis.primary()
        old.pause()
        console.all_up(30)
        new = another_primary(redis, old)
        old.resume()
        time.sleep(2)
        for partition in range(PARTITIONS):
            console.call_until_done(partition, "mark")
            assert "mark" in new.ask("LRANGE", key_of(new, partition), 0, -1), f"partition {partition} wrote elsewhere"


def another_primary(redis, old):
    """The gateway may hear of it from another sentinel than the one that is asked here, so before it."""
    return eventually(lambda: (now := redis.primary()) is not old and now, 10, "the sentinel knows the new primary")


def key_of(server, partition):
    """The list of the partition: tags begin with its number."""
    found = [key for key in server.ask("KEYS", "*") if key.startswith((f"st:{{{partition}-", f"st:{{{partition}}}"))]
    return found[0] if found else "none"


def cluster(program):
    with Cluster() as redis, Console(program, redis.url) as console:
        console.all_up(15)
        for partition in range(PARTITIONS):
            console.say(f"subscribe {partition} c")
            console.expect(f"subscribed {partition} c")
            assert console.call(partition, "first") == "1"
            console.expect(f"pushed {partition} c first")
        # A slot moves with its keys: told as missed, subscribed at the new owner.
        console.forget()
        slot = redis.servers[0].ask("CLUSTER", "KEYSLOT", key_of(redis.primary(), 0))
        redis.move_slot(slot)
        console.expect("missed 0 c")
        console.expect("subscribed 0 c")
        assert console.call_until_done(0, "moved") == "2"
        console.expect("pushed 0 c moved")
        assert console.count("missed") == 1, console.seen
        # While a slot is half moved: ASK and TRYAGAIN, then done.
        console.forget()
        source = redis.primary(slot)
        target = next(one for one in redis.primaries() if one is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100)
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        assert console.call(0, "asked") == "3"
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))
        assert console.call_until_done(0, "again") == "4"
        console.expect("subscribed 0 c")
        # A primary hands over to its replica.
        console.forget()
        redis.failover()
        console.expect("missed", seconds=20)
        for partition in range(PARTITIONS):
            console.call_until_heard(partition, "handed")
        # A primary dies.
        console.forget()
        victim = redis.primary(16383)
        victim.kill()
        console.expect(f"down {PARTITIONS - 1}")
        console.expect(f"up {PARTITIONS - 1}", seconds=30)
        for partition in range(PARTITIONS):
            console.call_until_heard(partition, "survived")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the built gateway")
    parser.add_argument("--only", help="one scenario by name")
    options = parser.parse_args()
    program = options.binary.resolve().parent / "redis_console"
    passed = failed = 0
    for scenario in (password, acl, restart, many_subscriptions, tls, sentinel, cluster):
        if options.only and scenario.__name__ != options.only:
            continue
        print(scenario.__name__, flush=True)
        try:
            scenario(program)
            passed += 1
        except (AssertionError, RuntimeError, OSError) as error:
            line = traceback.extract_tb(error.__traceback__)[1]
            print(f"  FAILED: {type(error).__name__}: {error} (line {line.lineno}: {line.line})", flush=True)
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

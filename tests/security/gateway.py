"""A gateway of its own for a suite of threats, and a look at what it holds: memory, descriptors, log
lines and metrics, so that each case can say that nothing of it is left."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request


class Gateway:
    def __init__(self, binary, *flags, config=None, scheme="http", shards=2):
        self.folder = tempfile.TemporaryDirectory(prefix="starling-security-")
        self.log = pathlib.Path(self.folder.name, "log")
        command = [binary, "serve", "--server.listen=127.0.0.1:0", "--server.admin=127.0.0.1:0", f"--server.shards={shards}"]
        if config is None:
            command.append("--dev")
        else:
            file = pathlib.Path(self.folder.name, "starling.toml")
            file.write_text(config)
            file.chmod(0o600)
            command += ["--config", file]
        self.process = subprocess.Popen([*map(str, command), *flags], stdout=subprocess.PIPE,
                                        stderr=open(self.log, "wb"), text=True)
        self.port = self.admin_port = None
        while self.port is None or self.admin_port is None:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("the gateway ended: " + self.log.read_text())
            port = int(line.rsplit(":", 1)[1].split("/")[0])
            if line.startswith("public"):
                self.port = port
            if line.startswith("admin"):
                self.admin_port = port
        self.address = ("127.0.0.1", self.port)
        for _ in range(200):
            if scheme != "http" or self.get("/health/ready")[0] == 200:
                return
            time.sleep(0.02)
        raise RuntimeError("the gateway did not get ready")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()

    def alive(self):
        return self.process.poll() is None

    def get(self, path, admin=False):
        """Status and text, over a connection that closes."""
        with socket.create_connection(("127.0.0.1", self.admin_port if admin else self.port), timeout=10) as peer:
            peer.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
            text = b""
            while part := peer.recv(65536):
                text += part
        return int(text.split(b" ", 2)[1]), text.partition(b"\r\n\r\n")[2].decode()

    def metrics(self):
        """{sample: value}, of one scrape."""
        _, text = self.get("/metrics", admin=True)
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line and line[0] != "#"}

    def memory(self):
        """Resident bytes."""
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def lines(self, event=None):
        """The log so far, as values; a line that is no JSON object raises."""
        found = [json.loads(line) for line in self.log.read_bytes().decode().splitlines()]
        return [line for line in found if event is None or line["event"] == event]

    def settled(self, descriptors, memory, within=8.0, slack=5 << 20):
        """None where memory is back within 5 MB and no descriptor is left over in time; else what is not."""
        end = time.monotonic() + within
        while True:
            more, bytes_more = self.descriptors() - descriptors, self.memory() - memory
            if more <= 0 and bytes_more <= slack:
                return None
            if time.monotonic() > end:
                return f"{more} descriptors and {bytes_more >> 10} KB more than before"
            time.sleep(0.05)

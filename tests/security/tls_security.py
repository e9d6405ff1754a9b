#!/usr/bin/env python3
"""TLS from the outside (F-17, X1): records cut byte by byte work, what is no TLS ends the connection, and nothing
of it is left. Versions and the reload of certificates are in tests/protocol/closing.mjs. Usage: --binary PATH"""

import argparse
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from gateway import Gateway

REQUEST = b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Session:
    """A client whose encrypted bytes pass through our hands."""

    def __init__(self, address, name=None):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def step(self, call, *given, chop=None):
        """Runs `call` until it is through, with what it wants to send in pieces of `chop` bytes."""
        while True:
            try:
                result, again = call(*given), False
            except ssl.SSLWantReadError:
                result, again = None, True
            data = self.outgoing.read()
            for at in range(0, len(data), chop or max(len(data), 1)):
                self.socket.sendall(data[at:at + (chop or len(data))])
                if chop:
                    time.sleep(0.0005)
            if not again:
                return result
            received = self.socket.recv(65536)
            if not received:
                raise EOFError
            self.incoming.write(received)

    def ask(self, chop=None):
        self.step(self.tls.do_handshake, chop=chop)
        self.step(self.tls.write, REQUEST, chop=chop)
        answer = self.step(self.tls.read, 65536)
        self.socket.close()
        return answer


def answers(address, **given):
    got = Session(address, given.get("name")).ask(given.get("chop"))
    return None if got.startswith(b"HTTP/1.1 200 ") else f"answered {got[:60]!r}"


def ends(address, data):
    """The connection is ended, and nothing but a TLS alert comes."""
    with socket.create_connection(address, timeout=5) as peer:
        peer.sendall(data)
        received = b""
        try:
            while part := peer.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        except TimeoutError:
            return "the connection stayed open"
    return None if not received or received[0] == 0x15 else f"answered {received[:20]!r}"


def large_record(address):
    """A record of more than 16 KB and what TLS adds is refused, in the middle of a session."""
    session = Session(address)
    session.step(session.tls.do_handshake)
    session.socket.sendall(b"\x17\x03\x03\x48\x01" + b"x" * 0x4801)
    try:
        while session.socket.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return "the connection stayed open"
    finally:
        session.socket.close()
    return None


def unfinished(gateway):
    """Half a handshake, many times over: ended after the time of a request's head."""
    peers = [socket.create_connection(gateway.address, timeout=15) for _ in range(200)]
    for peer in peers:
        peer.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    problem = answers(gateway.address)
    begin = time.monotonic()
    for peer in peers:
        try:
            while peer.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            problem = "an unfinished handshake stays open"
        peer.close()
    if time.monotonic() - begin > 13:
        problem = "unfinished handshakes stay for longer than 10 s"
    return problem


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    binary = arguments.parse_args().binary
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = pathlib.Path(folder, "key.pem"), pathlib.Path(folder, "certificate.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=gateway", "-keyout", key, "-out", certificate], check=True, capture_output=True)
        config = f'[server]\ntls = {{ certificate = "{certificate}", key = "{key}" }}\n[[apps]]\nid = "default"\n'
        with Gateway(binary, config=config, scheme="https") as gateway:
            address = gateway.address
            cases = [
                ("a whole session", lambda: answers(address)),
                ("F-17 a byte at a time", lambda: answers(address, chop=1)),
                ("X1 a long server name", lambda: answers(address, name=".".join(["a" * 60] * 4))),
                ("F-17 a record over 16 KB", lambda: large_record(address)),
                ("plain HTTP", lambda: ends(address, REQUEST)),
                ("nonsense", lambda: ends(address, b"\x16\x03\x01\x02\x00" + b"\xff" * 512)),
                ("a hello that says it is huge", lambda: ends(address, b"\x16\x03\x01\xff\xff" + b"\x01" * 70000)),
                ("SSL 3 hello", lambda: ends(address, b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + b"r" * 32 + b"\x00\x00\x04\x00\x2f\x00\x35\x01\x00")),
            ]
            for _, story in cases:
                try:
                    story()
                except (OSError, EOFError):
                    pass
            failed = []
            for name, story in cases:
                files, memory = gateway.descriptors(), gateway.memory()
                try:
                    problem = story() or answers(address) or gateway.settled(files, memory)
                except (OSError, EOFError, ssl.SSLError) as error:
                    problem = repr(error)
                if problem:
                    failed.append(f"{name}: {problem}")
            # What the first crowd needs stays with the allocator; the second one must need no more.
            unfinished(gateway)
            files, memory = gateway.descriptors(), gateway.memory()
            if problem := unfinished(gateway):
                failed.append(problem)
            if problem := gateway.settled(files, memory):
                failed.append(f"after unfinished handshakes: {problem}")
    for problem in failed:
        print(f"FAIL {problem}")
    print(f"{len(cases) + 1 - min(len(failed), len(cases) + 1)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

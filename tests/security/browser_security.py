#!/usr/bin/env python3
"""What a page of another site, or an operator's tools, could be made to do (O3 to O6, X2, X3): cookies count for
nothing, the HTTP API answers no preflight, the admin port knows its own names alone and tells of no user, and the
log stays one value a line. Usage: --binary PATH"""

import argparse
import base64
import hashlib
import hmac
import json
import socket
import sys

from cases import name_of, problem_of, report
from gateway import Gateway
from wire import TEXT, Client, frame

SECRET = "a secret of more than thirty-two bytes for tests"
CONFIG = f'''[server]
allowed_origins = ["https://good.example"]
[[apps]]
id = "default"
key = "k"
secret = "app-secret-that-is-not-short-at-all-really"
api_keys = ["an-api-key"]
  [[apps.token_keys]]
  algorithm = "HS256"
  secret = "{SECRET}"
  [[apps.namespaces]]
  name = ""
  allow = ["subscribe", "publish", "presence", "typing", "history"]
'''


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()
    text = f"{part({'alg': 'HS256'})}.{part({'sub': user})}"
    return f"{text}.{part(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest())}"


def request(address, text):
    """The whole answer to one request, on a connection that closes."""
    with socket.create_connection(address, timeout=5) as peer:
        peer.sendall(text.encode("latin-1"))
        answer = b""
        while part := peer.recv(65536):
            answer += part
    return answer.decode("latin-1")


def status(answer):
    return int(answer.split(" ", 2)[1]) if answer else None


def cookies_do_not_count(gateway):
    """O3, O4: a cookie with a good token is no token, with the right origin, a wrong one and none."""
    cookie = f"Cookie: token={token('ada')}; Authorization=Bearer {token('ada')}\r\n"
    for origin, wanted in (("", 101), ("Origin: https://good.example\r\n", 101), ("Origin: https://evil.example\r\n", 403)):
        client = Client(gateway.address, headers=cookie + origin)
        if client.status != wanted:
            return f"{origin!r}: {client.status}"
        if wanted == 101:
            client.send(frame(TEXT, b'{"type":"connect","id":1}'))
            if b"unauthenticated" not in client.until(TEXT)[1] or client.closed() != 4001:
                return f"{origin!r}: let in by a cookie"
        client.close()
    answer = request(gateway.address, f"GET /v1/nodes HTTP/1.1\r\nHost: a\r\n{cookie}Connection: close\r\n\r\n")
    return None if status(answer) == 401 and "set-cookie" not in answer.lower() else answer[:80]


def a_token_is_enough(gateway):
    """O3: without an Origin, as from anything but a browser, the token decides."""
    client = Client(gateway.address)
    client.send(frame(TEXT, json.dumps({"type": "connect", "id": 1, "token": token("ada")}).encode()))
    got = client.until(TEXT)
    client.close()
    return None if b'"connected"' in got[1] else got[1][:80]


def no_cors(gateway):
    """O5: no preflight is granted and no answer may be read by a page, not even of an allowed origin."""
    for origin in ("https://evil.example", "https://good.example", "null"):
        for line, more, wanted in (
                ("OPTIONS /v1/channels/a/messages", "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n",
                 (401, 404, 405)),
                ("GET /v1/nodes", "Authorization: Bearer an-api-key\r\n", (200,)),
                ("GET /health/live", "", (200,))):
            answer = request(gateway.address, f"{line} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n{more}Connection: close\r\n\r\n")
            if status(answer) not in wanted or "access-control-" in answer.lower():
                return f"{line} from {origin}: {answer[:200]!r}"
    return None


def admin_names(gateway):
    """O6: a foreign name that points at loopback gets nothing from the admin port."""
    admin = ("127.0.0.1", gateway.admin_port)
    for host, wanted in (("127.0.0.1", 200), (f"127.0.0.1:{gateway.admin_port}", 200), ("localhost", 200), ("[::1]:80", 200),
                         ("evil.example", 403), (f"evil.example:{gateway.admin_port}", 403), ("localhost.evil.example", 403)):
        for path in ("/metrics", "/health/ready"):
            answer = request(admin, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            if status(answer) != wanted:
                return f"{path} as {host}: {status(answer)}"
    return None


def admin_is_apart(gateway):
    """X2: the public port has no metrics, the admin port has nothing else, and no sample names a user or a channel."""
    client = Client(gateway.address)
    client.send(frame(TEXT, json.dumps({"type": "connect", "id": 1, "token": token("secret-user")}).encode()))
    client.until(TEXT)
    client.send(frame(TEXT, b'{"type":"subscribe","id":2,"channel":"secret-channel","presence":{"name":"secret-data"}}'))
    client.until(TEXT)
    _, text = gateway.get("/metrics", admin=True)
    client.close()
    if "secret" in text or "starling_presence_members 1" not in text:
        return "the metrics tell of a user, or of nobody"
    if gateway.get("/metrics")[0] != 404:
        return "metrics on the public port"
    answer = request(("127.0.0.1", gateway.admin_port),
                     "GET /v1/nodes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer an-api-key\r\nConnection: close\r\n\r\n")
    return None if status(answer) == 404 else f"the admin port answers {answer[:60]!r}"


def log_stays_whole(gateway):
    """X3: what a peer writes stands in the log escaped, whatever it is, and one value a line."""
    before = len(gateway.lines())
    evil = "\x1b[2J\x07{\"event\":\"forged\"}\xff\xfe"
    request(gateway.address, f"GET /{evil.replace(' ', '')}?token=SECRET HTTP/1.1\r\nHost: a\r\nUser-Agent: {evil}\r\nConnection: close\r\n\r\n")
    client = Client(gateway.address, headers=f"User-Agent: {evil}\r\n")
    client.send(frame(TEXT, json.dumps({"type": "connect", "token": "a\nb\x1b[31m\0"}).encode()))
    client.closed()
    client.close()
    closing = Client(gateway.address)
    closing.send(frame(8, b"\x03\xe8" + '\n{"event":"forged"}'.encode()))
    closing.closed()
    lines = gateway.lines()                 # Raises for a line that is no value.
    raw = gateway.log.read_bytes()
    if any(line["event"] == "forged" for line in lines) or b"\x1b" in raw or b"\x07" in raw or b"\xff" in raw:
        return "what a peer wrote is in the log as it was"
    return None if len(lines) > before and b"SECRET" not in raw else "nothing was logged, or the token was"


CASES = [cookies_do_not_count, a_token_is_enough, no_cors, admin_names, admin_is_apart, log_stays_whole]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", required=True)
    with Gateway(arguments.parse_args().binary, config=CONFIG) as gateway:
        return report([(name_of(case), problem_of(case, gateway)) for case in CASES])


if __name__ == "__main__":
    sys.exit(main())

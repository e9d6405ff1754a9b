#!/usr/bin/env python3
"""Calls each operation of docs/reference/openapi.json on a running gateway and holds the answer
against the schema that the file gives for it. Usage: --base-url http://127.0.0.1:8000 --api-key dev"""

import argparse
import json
import pathlib
import sys
import urllib.error
import urllib.request

SPEC = json.loads((pathlib.Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}
NOBODY = "openapi-nobody"

# operationId: path parameters and query, then the body; the example that is sent.
EXAMPLES = {
    "publish": ({"channel": "openapi%3A1"}, "", {"data": {"a": 1}, "event": "e"}),
    "history": ({"channel": "openapi%3A1"}, "?limit=10&reverse=true", None),
    "deleteHistory": ({"channel": "openapi%3Aunused"}, "", None),
    "typing": ({"channel": "openapi%3A1"}, "", {"userId": NOBODY}),
    "presence": ({"channel": "openapi%3A1"}, "?limit=1000", None),
    "presenceCount": ({"channel": "openapi%3A1"}, "", None),
    "channels": ({}, "?prefix=openapi", None),
    "broadcast": ({}, "", {"channels": ["openapi:1", "@reserved"], "data": 1}),
    "notify": ({"userId": NOBODY}, "", {"data": {"n": 1}}),
    "notifyMany": ({}, "", {"users": [NOBODY, ""], "data": 1}),
    "sendDirect": ({"connectionId": "no-such-connection"}, "", {"data": 1}),
    "user": ({"userId": NOBODY}, "", None),
    "disconnect": ({"userId": NOBODY}, "", {"code": 4100}),
    "subscribe": ({"userId": NOBODY}, "", {"channel": "openapi:1"}),
    "unsubscribe": ({"userId": NOBODY}, "", {"channel": "openapi:1"}),
    "nodes": ({}, "", None),
    "batch": ({}, "", {"requests": [{"method": "GET", "path": "/v1/nodes"},
                                    {"method": "POST", "path": "/v1/batch", "body": {"requests": []}}]}),
}
STATUS = {"sendDirect": "404"}  # There is no such connection here.


def resolve(node):
    while "$ref" in node:
        target = SPEC
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def mismatch(value, schema, where="body"):
    """What is wrong with value, or None; the part of JSON Schema that the file uses."""
    schema = resolve(schema)
    if "anyOf" in schema:
        found = [mismatch(value, each, where) for each in schema["anyOf"]]
        return None if None in found else found[0]
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    fits = [n for n in names if isinstance(value, TYPES[n]) and not (n == "integer" and isinstance(value, bool))]
    if names and not fits:
        return f"{where} is no {' or '.join(names)}: {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of the listed: {value!r}"
    if isinstance(value, dict):
        for key in schema.get("required", []):
            if key not in value:
                return f"{where}.{key} is missing"
        for key, inner in schema.get("properties", {}).items():
            if key in value and (problem := mismatch(value[key], inner, f"{where}.{key}")):
                return problem
    if isinstance(value, list):
        for index, entry in enumerate(value):
            if problem := mismatch(entry, schema.get("items", {}), f"{where}[{index}]"):
                return problem
    return None


def call(base, key, method, path, body):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data, method=method)
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("Authorization", "Bearer " + key)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.status), answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as answer:
        return str(answer.code), answer.headers.get_content_type(), answer.read()


def problem_of(answer, expected, operation):
    status, content_type, body = answer
    if status != expected:
        return f"status {status}, not {expected}: {body[:200]!r}"
    content = resolve(operation["responses"][expected]).get("content")
    if content is None:
        return None if not body else f"a body where there is none: {body[:200]!r}"
    if content_type not in content:
        return f"content type {content_type}"
    return mismatch(json.loads(body), content[content_type]["schema"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--base-url", default="http://127.0.0.1:8000")
    arguments.add_argument("--api-key", default="dev")
    given = arguments.parse_args()
    counts = {True: 0, False: 0}

    def report(name, problem):
        counts[problem is None] += 1
        if problem:
            print(f"FAIL {name}: {problem}")

    for path, item in SPEC["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            name = operation["operationId"]
            parts, query, body = EXAMPLES[name]
            target = path.format(**parts) + query
            expected = STATUS.get(name) or next(s for s in operation["responses"] if s.startswith("2"))
            report(name, problem_of(call(given.base_url, given.api_key, method.upper(), target, body), expected, operation))
            report(name + " without a key", problem_of(call(given.base_url, None, method.upper(), target, body), "401", operation))
            if operation.get("requestBody", {}).get("required"):
                report(name + " with an empty body",
                       problem_of(call(given.base_url, given.api_key, "POST", target, {}), "400", operation))
            if "?limit=" in query:
                refused = path.format(**parts) + "?limit=1001"
                report(name + " past the limit", problem_of(call(given.base_url, given.api_key, "GET", refused, None), "400", operation))
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    sys.exit(main())

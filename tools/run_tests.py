#!/usr/bin/env python3
"""Runs the unit tests and, with --all, every suite under tests/, and adds up what they say.

A suite is a program whose last line is `N passed, N failed[, N skipped]`. What it needs (an address, a
binary) it names in its --help, and gets; a suite that needs an address gets a gateway of its own in
development mode on free ports. A suite that ends without such a line counts as one failure.
"""

import argparse
import hashlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "release"
BINARY = BUILD / "starling"
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")
SUITE_TIMEOUT_S = 900
SIM_SEEDS = 20000
SIM_STORIES = 5000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gateway:
    """A gateway in development mode that lives as long as the `with` block."""

    def __enter__(self):
        self.port, self.admin_port = free_port(), free_port()
        self.log = tempfile.NamedTemporaryFile(prefix="starling-", suffix=".log", delete=False)
        self.process = subprocess.Popen(
            [BINARY, "serve", "--dev", f"--server.listen=127.0.0.1:{self.port}",
             f"--server.admin=127.0.0.1:{self.admin_port}"],
            stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=1)
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"the gateway did not get ready, see {self.log.name}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def run(command, cwd=ROOT, timeout=SUITE_TIMEOUT_S):
    """Echoes the output as it comes and returns (exit code, output)."""
    process = subprocess.Popen([str(part) for part in command], cwd=cwd, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace")
    lines, deadline = [], time.monotonic() + timeout
    for line in process.stdout:
        sys.stdout.write(line)
        lines.append(line)
        if time.monotonic() > deadline:
            process.kill()
    return process.wait(), "".join(lines)


def google_test(binary):
    code, output = run([binary, "--gtest_brief=1"], timeout=300)
    ran = re.search(r"^\[=+\] (\d+) tests? from .* ran", output, re.M)
    if ran is None:
        return 0, 1, 0
    failed = re.search(r"^ ?(\d+) FAILED TESTS?", output, re.M)
    skipped = re.search(r"^\[  SKIPPED \] (\d+) tests?", output, re.M)
    failed, skipped = int(failed[1]) if failed else 0, int(skipped[1]) if skipped else 0
    if code != 0 and failed == 0:
        failed = 1
    return max(int(ran[1]) - failed - skipped, 0), failed, skipped


def ctest_rest():
    """What ctest has beside the unit tests: corpus replay and its canary."""
    code, output = run(["ctest", "--test-dir", BUILD, "-LE", "unit", "--output-on-failure"])
    found = re.search(r"(\d+) tests? failed out of (\d+)", output)
    if found is None:
        return (0, 0, 0) if "No tests were found" in output else (0, 1, 0)
    return int(found[2]) - int(found[1]), int(found[1]), 0


def summary(code, output):
    last = output.strip().splitlines()[-1].strip() if output.strip() else ""
    found = SUMMARY.match(last)
    if found is None:
        return 0, 1, 0
    passed, failed, skipped = int(found[1]), int(found[2]), int(found[3] or 0)
    # A suite that says all is well and ends with an error is not well.
    return passed, failed if failed or code == 0 else 1, skipped


def suite(path):
    runner = ["node"] if path.suffix == ".mjs" else [sys.executable]
    for folder in (path.parent.parent, path.parent):   # tests/ itself holds what its folders share.
        install_node_modules(folder)
    usage = subprocess.run(runner + [str(path), "--help"], cwd=ROOT, capture_output=True, text=True,
                           timeout=60, stdin=subprocess.DEVNULL)
    # A suite without --help runs, or complains: then its source says what it takes.
    usage = usage.stdout + usage.stderr if usage.returncode == 0 else "".join(
        f" --{name}" for name in re.findall(r"^\s*'?([a-z-]+)'?: \{ type: 'string'", path.read_text(), re.M))
    asks = set(re.findall(r"--[a-z][a-z-]*", usage))
    arguments = ["--binary", BINARY] if "--binary" in asks else []
    if not asks & {"--url", "--base-url", "--port", "--host"}:
        return summary(*run(runner + [path] + arguments))
    with Gateway() as gateway:
        base = f"http://127.0.0.1:{gateway.port}"
        socket_url = f"ws://127.0.0.1:{gateway.port}" + ("/v1/echo" if "/v1/echo" in usage or "echo" in usage else "/v1/ws")
        known = {"--url": base if "--url http" in usage else socket_url, "--base-url": base, "--host": "127.0.0.1",
                 "--port": gateway.port, "--admin-port": gateway.admin_port, "--api-key": "dev",
                 "--admin-url": f"http://127.0.0.1:{gateway.admin_port}", "--pid": gateway.process.pid}
        for name, value in known.items():
            if name in asks:
                arguments += [name, value]
        result = summary(*run(runner + [path] + arguments))
        if gateway.process.poll() is not None:
            print(f"the gateway ended during {path.name}, see {gateway.log.name}")
            result = (result[0], result[1] + 1, result[2])
        return result


def install_node_modules(folder):
    """npm ci once for each state of the lock file."""
    lock = folder / "package-lock.json"
    if not lock.exists():
        return
    stamp = folder / "node_modules" / ".lock-hash"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest)


def simulator():
    """The cluster on virtual time: the same seeds in every run, those that once failed, and each rule switched off, which a seed must notice."""
    jobs = ["--jobs", os.cpu_count() or 1]
    passed = failed = 0
    for words in (["--seeds", SIM_SEEDS, *jobs], ["--mode", "stories", "--seeds", SIM_STORIES, *jobs],
                  ["--file", ROOT / "sim" / "regressions.txt"], ["--rules", *jobs]):
        code, output = run([BUILD / "starling_sim", *words], timeout=1800)
        found = re.search(r"^(\d+) (?:seeds|rules), (\d+) failed$", output, re.M)
        whole, bad = (int(found[1]), int(found[2])) if found else (1, 1)
        bad = bad or (1 if code else 0)
        passed, failed = passed + whole - bad, failed + bad
    return passed, failed, 0


def suites():
    tests = ROOT / "tests"
    for folder in sorted(path for path in tests.iterdir() if path.is_dir()) if tests.is_dir() else []:
        entries = sorted(path for path in folder.iterdir() if path.suffix in (".py", ".mjs"))
        # What the entry points import is not executable and not named like one.
        for path in entries:
            if path.stem == "run" or path.stem.endswith(("_test", "_conformance", "_security")) or path.stat().st_mode & 0o111:
                yield path
    # A client brings its own suite, beside its sources.
    yield from sorted((ROOT / "clients").glob("*/run_test.*"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every suite, not only the unit tests")
    options = parser.parse_args()

    jobs = [(path.name, lambda path=path: google_test(path)) for path in sorted(BUILD.glob("*_test"))]
    if options.all:
        jobs.append(("corpus replay", ctest_rest))
        jobs.append(("simulator", simulator))
        jobs.append(("tidy", lambda: summary(*run([sys.executable, ROOT / "tools" / "tidy.py"]))))
        jobs += [(str(path.relative_to(ROOT)), lambda path=path: suite(path)) for path in suites()]

    rows = []
    for name, job in jobs:
        print(f"\n=== {name}", flush=True)
        try:
            rows.append((name, *job()))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            print(error)
            rows.append((name, 0, 1, 0))

    print()
    for name, passed, failed, skipped in rows:
        print(f"{'FAIL' if failed else 'ok  '} {name}: {passed} passed, {failed} failed, {skipped} skipped")
    passed, failed, skipped = (sum(row[column] for row in rows) for column in (1, 2, 3))
    if not rows:
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

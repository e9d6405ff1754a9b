#!/usr/bin/env python3
"""All suites of faults in one command: forms of Redis, repeats, constants; and the results kept as JSON.

Each suite runs as a process of its own for each form; lines `ok NAME (N ms)`, `not ok NAME :: WHY`, `skipped NAME` and
`note TEXT` are what is kept, as one run added to those in the file.

  python3 tests/faults/campaign.py --form standalone,sentinel,cluster --repeat 20 --all
  python3 tests/faults/campaign.py --suites faults --only "F1 ,F2 ,F6,F8,F9" --default-constants
"""

import argparse
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys

from topologies import die_with_parent

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SUITES = {"faults": "faults_test.mjs", "redis": "redis_faults_test.mjs", "nodes": "nodes_faults_test.mjs",
          "clients": "clients_faults_test.mjs"}
LINE = re.compile(r"^(ok|not ok|skipped) (\w+): (.*?)(?: \(\d+\))?(?: \((\d+) ms\)| :: (.*))?$")


def machine():
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return f"{os.cpu_count()} cores, {memory} GiB, Redis {re.search(r'v=([0-9.]+)', redis)[1]}, load {os.getloadavg()[0]:.0f} at the beginning"


def command(words):
    """As another machine would say it: without what is of this one."""
    kept = []
    for before, word in zip(["", *words], words):
        if not {before, word} & {"--out", "--binary", "--what"}:
            kept.append(f'"{word}"' if " " in word else word)
    return " ".join(["python3 tests/faults/campaign.py", *kept])


def run(command, results, timeout):
    """Echoes what the suite says and sorts it by form and story; a note belongs to the story that ends next."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace", preexec_fn=lambda: die_with_parent(signal.SIGTERM))
    notes = []
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith("  note "):
            notes.append(line[7:].strip())
            continue
        found = LINE.match(line.rstrip())
        if not found:
            continue
        verdict, form, name, took, why = found.groups()
        one = results.setdefault(form, {}).setdefault(name, {"passed": 0, "failed": 0, "times": [], "notes": [], "failures": []})
        if verdict == "skipped":
            one["skipped"] = one.get("skipped", 0) + 1
            continue
        one["passed" if verdict == "ok" else "failed"] += 1
        if took:
            one["times"].append(int(took))
        if why:
            one["failures"].append(why[:300])
        one["notes"] += notes
        notes = []
    return process.wait(timeout)


def tidy(one):
    """A median of the times, some of the notes, nothing that is empty."""
    kept = {key: value for key, value in one.items() if key != "times" and (value or key in ("passed", "failed"))}
    if one["times"]:
        kept["median_ms"] = round(statistics.median(one["times"]))
    if one["notes"]:
        kept["notes"] = one["notes"][-4:]
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", default=",".join(SUITES), help="some of " + ", ".join(SUITES))
    parser.add_argument("--form", default="standalone", help="standalone, sentinel, cluster")
    parser.add_argument("--only", default="", help="texts, with commas between; a story whose name has one is told")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="all of it so often; the file is written after each")
    parser.add_argument("--what", default="", help="a sentence for the results")
    parser.add_argument("--out", type=pathlib.Path, help="a file of results to add to")
    parser.add_argument("--binary", default=str(ROOT / "build" / "release" / "starling"))
    parser.add_argument("--test-timeout", default="120000")
    for name in ("all", "large", "default-constants"):
        parser.add_argument(f"--{name}", action="store_true", help="as the suites have it")
    options = parser.parse_args()
    passed_on = [f"--{name}" for name in ("all", "large", "default-constants") if getattr(options, name.replace("-", "_"))]
    about = {"what": options.what, "machine": machine(),
             "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip(),
             "command": command(sys.argv[1:])}
    kept = json.loads(options.out.read_text()) if options.out and options.out.exists() else {"runs": []}
    results = {}
    for _ in range(options.rounds):
        for form in options.form.split(","):
            for suite in options.suites.split(","):
                for only in options.only.split(","):
                    run(["node", HERE / SUITES[suite], "--binary", options.binary, "--form", form, "--repeat", str(options.repeat),
                         "--test-timeout", options.test_timeout, *passed_on, *(["--only", only] if only else [])], results, 60)
        tidied = {form: {name: tidy(one) for name, one in stories.items()} for form, stories in results.items()}
        if options.out:
            options.out.write_text(json.dumps({**kept, "runs": [*kept["runs"], about | {"forms": tidied}]}, indent=1) + "\n")
    stories = [one for form in results.values() for one in form.values()]
    passed, failed = (sum(one[key] for one in stories) for key in ("passed", "failed"))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

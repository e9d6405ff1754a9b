#!/usr/bin/env python3
"""Runs scenarios of the load tool and keeps each result in bench/results/NAME.json.

Each scenario measures the raw yardstick and a gateway in alternating runs, so that what disturbs the machine
disturbs both alike. Without a name: all of them, and a table of what is kept. Scenarios called cluster-... open
connections over several nodes and one Redis and audit what clients are told.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

# Name: (what it shows, the yardsticks beside the gateway, arguments of the load tool, figures for the table)
SCENARIOS = {
    "idle": ("memory of an idle connection: authenticated, one channel", ["raw"],
             "idle --connections 10000 --rooms 1000 --processes 2", ["pss_bytes", "kernel_bytes_both_ends", "connect_cpu_us"]),
    "idle-presence": ("the same with three channels and presence", ["raw"],
                      "idle --connections 5000 --rooms 500 --channels 3 --presence --processes 2",
                      ["pss_bytes", "connect_cpu_us"]),
    "fanout": ("one message at a time to a room of 1,000", ["raw"],
               "fanout --connections 1000 --messages 200", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "fanout-5000": ("one message at a time to a room of 5,000", ["raw"],
                    "fanout --connections 5000 --messages 40", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "burst": ("bursts of ten messages to a room of 1,000", ["raw-writev"],
              "fanout --connections 1000 --messages 100 --burst 10", ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "rooms": ("5,000 connections in 500 rooms, 100 publishers", ["raw"],
              "rooms --connections 5000 --rooms 500 --publishers 100 --messages 100",
              ["cpu_s_per_million", "lost", "repeated_or_late"]),
    "rate": ("50 messages a second to a room of 1,000", ["raw"],
             "fanout --connections 1000 --messages 150 --rate 50", ["p50_ms", "p99_ms", "cpu_s_per_million"]),
    "churn": ("connect, upgrade, token, subscribe, close", ["raw"],
              "churn --cycles 5000 --in-flight 32 --rooms 100", ["cpu_us_per_cycle", "failed"]),
}

# The same for whole clusters, one run each: phases with figures, and wrong is wrong.
CLUSTERS = {
    "cluster-1k": ("1,000 connections over six nodes and one Redis, rooms of ten",
                   "--connections 1000 --nodes 6 --processes 2 --all-channel --samples 100"),
    "cluster-10k": ("10,000 connections over six nodes and one Redis, rooms of ten",
                    "--connections 10000 --nodes 6 --processes 2 --all-channel --in-flight 1024"),
    "cluster-100k": ("100,000 connections over six nodes and one Redis, rooms of ten",
                     "--connections 100000 --nodes 6 --processes 6 --all-channel --in-flight 2048 --storm 10"),
    **{f"cluster-nodes-{nodes}": (f"10,000 connections, rooms of ten, {nodes} nodes and one Redis",
                                  f"--connections 10000 --nodes {nodes} --processes 2 --in-flight 1024 --storm 0 --kill 0")
       for nodes in (1, 2, 4, 6)},
}


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"cpu": model, "cores": os.cpu_count(), "memory_mb": memory // 1024, "kernel": platform.release(),
            "load_average": list(os.getloadavg())}


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no", "src") else "")


def measure(name, options):
    what, yardsticks, arguments, _ = SCENARIOS[name]
    targets = [word for target in yardsticks + options.binary for word in ("--target", target)]
    command = [str(options.tool), *arguments.split(), "--runs", str(options.runs), *targets]
    print(f"== {name}: {what}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if not done.stdout.startswith("{"):
        return False
    result = keep(name, what, command, done, options)
    print(row(name, result))
    return done.returncode == 0


def measure_cluster(name, options):
    what, arguments = CLUSTERS[name]
    command = [str(options.tool), "cluster", *arguments.split(), "--target", options.binary[0]]
    print(f"== {name}: {what}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return done.returncode == 0 and keep(name, what, command, done, options)


def keep(name, what, command, done, options):
    readable = " ".join(word.replace(str(ROOT) + "/", "") for word in command)
    result = {"scenario": name, "what": what, "command": readable, "commit": commit(), "machine": machine(),
              "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **json.loads(done.stdout)}
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def row(name, result):
    parts = []
    for figure in SCENARIOS[name][3]:
        for target in result["targets"]:
            if figure not in target:
                continue
            spread = target[figure]
            ratio = spread.get("ratio_to_first", {}).get("lower_quartile")
            parts.append(f"{target['target']} {figure} {spread['median']:.4g} ({spread['lower_quartile']:.4g} at the lower quartile"
                         + (f", {ratio:.3g} x" if ratio and figure not in ("lost", "repeated_or_late") else "") + ")")
    return f"{name}: " + "; ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS | CLUSTERS)}; none: all but clusters")
    parser.add_argument("--runs", type=int, default=6, help="of each target, in turns (6)")
    parser.add_argument("--binary", action="append", help="a gateway; more than once: one beside the other")
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / "build/release/bench/starling_bench")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    options = parser.parse_args()
    options.binary = options.binary or [str(ROOT / "build/release/starling")]
    unknown = [name for name in options.scenarios if name not in SCENARIOS | CLUSTERS]
    if unknown:
        parser.error(f"no scenario is called {', '.join(unknown)}")
    names = options.scenarios or list(SCENARIOS)
    if options.table:
        for name in names:
            if name in SCENARIOS and (options.results / f"{name}.json").exists():
                print(row(name, json.loads((options.results / f"{name}.json").read_text())))
        return 0
    if not options.tool.exists():
        parser.error(f"{options.tool} is missing: cmake --build --preset release --target starling_bench")
    failed = [name for name in names if not (measure_cluster if name in CLUSTERS else measure)(name, options)]
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

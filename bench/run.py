#!/usr/bin/env python3
"""Runs scenarios of the load tool and keeps each result in bench/results/NAME.json.

Each scenario measures the raw yardstick and a gateway in alternating runs, so that what disturbs the machine
disturbs both alike. Without a name: all of them. `growth`, or one series as `growth:NAME`, measures how cost grows.
Scenarios called cluster-... open connections over several nodes and one Redis and audit what clients are told; million-...
open as many as the machine holds. With --peers: servers of others in the same runs (NAME-peers.json), as far as they are installed.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import clusters
import kept
import table
from clusters import CLUSTERS
from kept import ROOT, RESULTS
from scenarios import GROWTH, PEERS, SCENARIOS, WITH_PEERS, peers_of


def run_tool(options, arguments, targets):
    """What the tool printed, and the command as a reader can repeat it; nothing: it failed altogether."""
    words = [word for target in targets for word in ("--target", target)]
    command = [str(options.tool), *arguments.split(), "--runs", str(options.runs), *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    readable = " ".join(word.replace(str(ROOT) + "/", "") for word in command)
    return (json.loads(done.stdout) if done.stdout.startswith("{") else None), readable, done.returncode == 0


def measure(name, options):
    what, yardsticks, arguments, _ = SCENARIOS[name]
    print(f"== {name}: {what}", flush=True)
    peers = [f"peer:{peer}" for peer in peers_of(name, options.peer)] if options.peers else []
    told, command, well = run_tool(options, arguments, yardsticks + options.binary + peers)
    if told is None:
        return False
    kept_as = f"{name}-peers" if options.peers else name
    earlier = kept.read(options.results, kept_as) if options.append else None
    if earlier and (earlier["commit"], earlier["command"].split("--runs")[0]) != (kept.commit(), command.split("--runs")[0]):
        print(f"what is kept as {kept_as} is of another commit or command: it is replaced")
        earlier = None
    targets = kept.merge(earlier["targets"] if earlier else [], told["targets"])
    result = {"scenario": name, "what": what, "command": command, "commit": kept.commit(), "machine": kept.machine(),
              "at": kept.now(), "runs": told["runs"] + (earlier["runs"] if earlier else 0), "targets": targets}
    kept.write(options.results, kept_as, result)
    print(row(name, result))
    return well


def grow(name, options):
    what, yardsticks, points, _ = GROWTH[name]
    print(f"== growth:{name}: {what}", flush=True)
    out = []
    well = True
    for value, arguments in points:
        told, command, done = run_tool(options, arguments, yardsticks + options.binary)
        well = well and done and told is not None
        if told is not None:
            out.append({"value": value, "command": command, "targets": kept.merge([], told["targets"])})
    growth = kept.read(options.results, "growth") or {"what": "how cost grows", "series": {}}
    growth["series"][name] = {"what": what, "commit": kept.commit(), "machine": kept.machine(), "at": kept.now(),
                              "runs": options.runs, "points": out}
    kept.write(options.results, "growth", growth)
    return well


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


def names_of(options, parser):
    names = options.scenarios or (WITH_PEERS if options.peers else list(SCENARIOS))
    out = []
    for name in names:
        if name == "growth":
            out += [f"growth:{series}" for series in GROWTH]
        elif name in SCENARIOS or name in CLUSTERS or name.removeprefix("growth:") in GROWTH:
            out.append(name)
        else:
            parser.error(f"no scenario is called {name}")
    return out


def run(name, options):
    if name in CLUSTERS:
        return clusters.measure(name, options)
    if name == "growth:nodes":
        return clusters.grow("nodes", options)
    return grow(name.removeprefix("growth:"), options) if name.startswith("growth:") else measure(name, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS | CLUSTERS)}, growth; none: all but growth and clusters")
    parser.add_argument("--runs", type=int, default=6, help="of each target, in turns (6)")
    parser.add_argument("--peers", action="store_true", help="the peers too, in the same runs")
    parser.add_argument("--peer", action="append", help=f"only this one, of {', '.join(PEERS)}; more than once")
    parser.add_argument("--append", action="store_true", help="add the runs to those that are kept of the same commit and command")
    parser.add_argument("--binary", action="append", help="a gateway; more than once: one beside the other")
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / "build/release/bench/starling_bench")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only print what is kept, as the table of docs/BENCHMARKS.md")
    parser.add_argument("--write", action="store_true", help="with --table: into docs/BENCHMARKS.md")
    options = parser.parse_args()
    if options.table:
        return table.main(options.results, options.write)
    options.binary = options.binary or [str(ROOT / "build/release/starling")]
    options.peers = options.peers or bool(options.peer)
    options.peer = options.peer or PEERS
    names = names_of(options, parser)
    if not options.tool.exists():
        parser.error(f"{options.tool} is missing: cmake --build --preset release --target starling_bench")
    failed = [name for name in names if not run(name, options)]
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

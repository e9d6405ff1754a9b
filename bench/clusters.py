"""Scenarios of whole clusters, one run each: phases with figures, and what is wrong is counted.

cluster-...: several nodes, one Redis, every view of presence audited. million-...: as many connections as the machine
holds, on nodes apart; all sizes are kept in one file.
"""

import json
import subprocess

import kept
from kept import ROOT
from scenarios import GROWTH

# Name: (what it shows, arguments of `starling_bench cluster`)
CLUSTERS = {
    "cluster-1k": ("1,000 connections over six nodes and one Redis, rooms of ten",
                   "--connections 1000 --nodes 6 --processes 2 --all-channel --samples 100"),
    "cluster-10k": ("10,000 connections over six nodes and one Redis, rooms of ten",
                    "--connections 10000 --nodes 6 --processes 2 --all-channel --in-flight 1024"),
    **{f"cluster-100k{name}": (f"100,000 connections over six nodes and one Redis, rooms of ten{what}",
                               f"--connections 100000 --nodes 6 --processes 6 --all-channel --in-flight 2048 --storm 10{flags}")
       for name, what, flags in (("", "", ""), ("-8", ", with 8 partitions in place of 32", " -- --cluster.partitions=8"),
                                 ("-2", ", with 2 partitions in place of 32", " -- --cluster.partitions=2"))},
    # At most 18,000 connections in a process, for a process may have 20,000 descriptors where this is run.
    **{f"million-{name}": (f"{count:,} connections on nodes apart, rooms of ten, 50,000 deliveries a second",
                           f"--connections {count} --nodes {-(-count // 18000)} --apart --no-presence --in-flight 2048 "
                           "--rate 5000 --seconds 20 --rest 5")
       for name, count in (("100k", 100_000), ("300k", 300_000), ("600k", 600_000), ("1m", 1_000_000))},
    "million-1m-presence": ("1,000,000 connections on nodes apart, rooms of ten with presence, each view judged, 50,000 deliveries a second",
                            "--connections 1000000 --nodes 56 --apart --in-flight 2048 --rate 5000 --seconds 10 --rest 5"),
}


def run_tool(options, arguments):
    """What the tool printed, or nothing; the command as a reader can repeat it; whether nothing failed or was wrong."""
    command = [str(options.tool), "cluster", "--target", options.binary[0], *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    readable = " ".join(word.replace(str(ROOT) + "/", "") for word in command)
    return (json.loads(done.stdout) if done.stdout.startswith("{") else None), readable, done.returncode == 0


def measure(name, options):
    what, arguments = CLUSTERS[name]
    print(f"== {name}: {what}", flush=True)
    told, command, well = run_tool(options, arguments)
    if told is None:
        return False
    result = {"scenario": name, "what": what, "command": command, "commit": kept.commit(), "machine": kept.machine(), "at": kept.now(), **told}
    if name.startswith("million-"):
        earlier = kept.read(options.results, "million") or {"runs": {}}
        kept.write(options.results, "million", {"runs": earlier["runs"] | {name: result}})
    else:
        kept.write(options.results, name, result)
    return well


def figures_of(told):
    """One run as the targets of a point of growth; a figure that is not there (another node, of one) is left out."""
    phases = told["phases"]
    connect, joins, publish = phases["connect"], phases["joins"], phases["publish"]
    out = {"nodes": {"connect_cpu_us": connect["node_cpu_us_each"], "change_cpu_us": joins["node_cpu_us_per_change_seen"],
                     "message_cpu_us": publish["node_cpu_us_per_message"], "pss_bytes": phases["rest"]["nodes_pss_bytes_each"],
                     "connect_s": connect["seconds"], "not_delivered": publish["not_delivered"]},
           "redis": {"connect_cpu_us": connect["redis_cpu_us_each"], "change_cpu_us": joins["redis_cpu_us_per_change_seen"],
                     "message_cpu_us": publish["redis_cpu_us_per_message"]}}
    for target, timed in (("the same node", "join_on_the_same_node"), ("another node", "join_on_another_node")):
        times = joins.get(timed, {})
        out[target] = {f"join_{part}_ms": times[f"{part}_ms"] for part in ("p50", "p99") if f"{part}_ms" in times}
    return out


def grow(name, options):
    """Rounds over all points, so that what disturbs the machine disturbs them alike."""
    what, _, points, _ = GROWTH[name]
    print(f"== growth:{name}: {what}", flush=True)
    growth = kept.read(options.results, "growth") or {"what": "how cost grows", "series": {}}
    earlier = growth["series"].get(name) if options.append else None
    if earlier and earlier["commit"] != kept.commit():
        print("what is kept is of another commit: it is replaced")
        earlier = None
    values = {(point["value"], target["target"], figure): spread["values"] for point in (earlier["points"] if earlier else [])
              for target in point["targets"] for figure, spread in target.items() if figure != "target"}
    wrong = earlier["runs_gone_wrong"] if earlier else 0
    well = True
    commands = {}
    for _ in range(options.runs):
        for value, arguments in points:
            told, commands[value], done = run_tool(options, arguments)
            if told is None or not done:     # A run in which something was wrong is no figure of what it costs.
                well = False
                wrong += 1
                continue
            for target, figures in figures_of(told).items():
                for figure, number in figures.items():
                    values.setdefault((value, target, figure), []).append(number)
    out = []
    for value, _ in points:
        targets = [{"target": target} | {figure: kept.spread(numbers) for (at, of, figure), numbers in values.items() if (at, of) == (value, target)}
                   for target in ("nodes", "redis", "the same node", "another node")]
        out.append({"value": value, "command": commands[value], "targets": kept.round_all(targets)})
    growth["series"][name] = {"what": what, "commit": kept.commit(), "machine": kept.machine(), "at": kept.now(),
                              "runs": options.runs + (earlier["runs"] if earlier else 0), "runs_gone_wrong": wrong, "points": out}
    kept.write(options.results, "growth", growth)
    return well

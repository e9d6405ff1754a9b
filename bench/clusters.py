"""Scenarios of whole clusters, one run each: phases with figures, and what is wrong is counted.

cluster-...: several nodes, one Redis, every view of presence audited. million-...: as many connections as the machine
holds, on nodes apart; all sizes are kept in one file.
"""

import json
import subprocess

import kept
from kept import ROOT

# Name: (what it shows, arguments of `starling_bench cluster`)
CLUSTERS = {
    "cluster-1k": ("1,000 connections over six nodes and one Redis, rooms of ten",
                   "--connections 1000 --nodes 6 --processes 2 --all-channel --samples 100"),
    "cluster-10k": ("10,000 connections over six nodes and one Redis, rooms of ten",
                    "--connections 10000 --nodes 6 --processes 2 --all-channel --in-flight 1024"),
    "cluster-100k": ("100,000 connections over six nodes and one Redis, rooms of ten",
                     "--connections 100000 --nodes 6 --processes 6 --all-channel --in-flight 2048 --storm 10"),
    **{f"cluster-nodes-{nodes}": (f"10,000 connections, rooms of ten, nodes: {nodes}, and one Redis",
                                  f"--connections 10000 --nodes {nodes} --processes 2 --in-flight 1024 --storm 0 --kill 0")
       for nodes in (1, 2, 4, 6)},
    # At most 18,000 connections in a process, for a process may have 20,000 descriptors where this is run.
    **{f"million-{name}": (f"{count:,} connections on nodes apart, rooms of ten, 50,000 deliveries a second",
                           f"--connections {count} --nodes {-(-count // 18000)} --apart --no-presence --in-flight 2048 "
                           "--rate 5000 --seconds 20 --rest 5")
       for name, count in (("100k", 100_000), ("300k", 300_000), ("600k", 600_000), ("1m", 1_000_000))},
}


def measure(name, options):
    what, arguments = CLUSTERS[name]
    command = [str(options.tool), "cluster", *arguments.split(), "--target", options.binary[0]]
    print(f"== {name}: {what}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if not done.stdout.startswith("{"):
        return False
    result = {"scenario": name, "what": what, "command": " ".join(word.replace(str(ROOT) + "/", "") for word in command),
              "commit": kept.commit(), "machine": kept.machine(), "at": kept.now(), **json.loads(done.stdout)}
    if name.startswith("million-"):
        earlier = kept.read(options.results, "million") or {"runs": {}}
        kept.write(options.results, "million", {"runs": earlier["runs"] | {name: result}})
    else:
        kept.write(options.results, name, result)
    return done.returncode == 0

"""The table "Speed and size" of docs/BENCHMARKS.md, from the result files alone."""

import kept
from kept import ROOT

PAGE = ROOT / "docs" / "BENCHMARKS.md"
BEGIN = "<!-- begin of what bench/run.py --table --write writes -->"
END = "<!-- end of what bench/run.py --table --write writes -->"

# What, the target, the result file, the figure, its unit, the factor to that unit, which ratio to raw means something.
ROWS = [
    ("fan-out to a room of 1,000, one message at a time", "<= 1.08 x raw", "fanout", "cpu_s_per_million", "s/M", 1, True),
    ("fan-out to 5,000", "<= 1.08 x raw", "fanout-5000", "cpu_s_per_million", "s/M", 1, True),
    ("fan-out to 15,000", "<= 1.08 x raw", "fanout-15000", "cpu_s_per_million", "s/M", 1, True),
    ("bursts of 10 to a room of 1,000", "<= 1.05 x raw `writev`", "burst", "cpu_s_per_million", "s/M", 1, True),
    ("10,000 connections in 1,000 rooms, 100 publishers", "<= 5.5 s/M", "rooms", "cpu_s_per_million", "s/M", 1, True),
    ("the same: deliveries a second through one core", ">= 175 K/s", "rooms", "deliveries_per_s", "K/s", 1e-3, False),
    ("p99 at 100 messages/s to 1,000", "<= 1.1 x raw", "rate", "p99_ms", "ms", 1, True),
    ("two nodes over one Redis, a room of 1,000: CPU of both and of Redis", "none", "two-nodes", "all_cpu_s_per_million", "s/M", 1, False),
    ("the same: p99 on the node that was not published at", "none", "two-nodes", "p99_other_node_ms", "ms", 1, False),
    ("two nodes over one Redis, 200 rooms of ten: CPU of both and of Redis", "none", "two-nodes-rooms", "all_cpu_s_per_million", "s/M", 1, False),
    ("the same: p99 on the node that was not published at", "none", "two-nodes-rooms", "p99_other_node_ms", "ms", 1, False),
    ("idle connection, authenticated, one channel: memory", "<= 640 B", "idle", "pss_bytes", "B", 1, False),
    ("the same with three channels and presence: memory", "<= 1.2 KB", "idle-presence", "pss_bytes", "B", 1, False),
    ("connect, upgrade, token, subscribe, close", "<= 40 us", "churn", "cpu_us_per_cycle", "us", 1, True),
]
MORE_IS_BETTER = ("deliveries_per_s",)


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def target_of(result, name):
    return next((target for target in result["targets"] if target["target"] == name), {})


def name_of(target):
    return target["target"].removeprefix("peer:")


def value_of(target, figure, factor):
    return number(target[figure]["median"] * factor)


def peers_of(result, figure, factor):
    there = [target for target in result["targets"] if target["target"].startswith("peer:") and figure in target]
    there.sort(key=lambda target: target[figure]["median"], reverse=figure in MORE_IS_BETTER)
    out = [f"{name_of(target)} {value_of(target, figure, factor)}" + (" (lost some)" if lost(target) else "") for target in there]
    out += [f"{name_of(target)}: {target['failure']}" for target in result["targets"]
            if target["target"].startswith("peer:") and "failure" in target]
    return ", ".join(out)


def lost(target):
    return target.get("lost", {}).get("most", 0) > 0


def ahead_of(result, figure, own):
    sign = -1 if figure in MORE_IS_BETTER else 1
    return [name_of(target) for target in result["targets"] if target["target"].startswith("peer:") and figure in target
            and sign * target[figure]["lower_quartile"] < sign * own[figure]["lower_quartile"]]


def busy(own):
    if "server_cpu_share" not in own:
        return ""
    server, clients = (100 * own[key]["median"] for key in ("server_cpu_share", "client_cpu_share"))
    side = "server" if server >= clients else "clients"
    return f"{side} ({server:.0f} : {clients:.0f} %)"


def line(entry, folder, remarks):
    what, wanted, name, figure, unit, factor, compares = entry
    result = kept.read(folder, f"{name}-peers") or kept.read(folder, name)
    if result is None:
        return f"| {what} | {wanted} | not measured yet | | | | |"
    own = target_of(result, "starling")
    raw = result["targets"][0]
    if figure not in own:
        return f"| {what} | {wanted} | {own.get('failure', 'failed')} | | | | |"
    better = ahead_of(result, figure, own)
    if better:
        remarks.append(f"{what}: {' and '.join(better)}")
    ratio = own[figure].get("ratio_to_first", {}).get("lower_quartile") if compares else None
    cells = [what, wanted, f"**{value_of(own, figure, factor)} {unit}**", value_of(raw, figure, factor) if figure in raw and raw is not own else "",
             f"{ratio:.2f} x" if ratio else "", peers_of(result, figure, factor), busy(own)]
    return "| " + " | ".join(cells) + " |"


def text(folder):
    remarks = []
    lines = ["| what | target | Starling | raw | ratio | peers, the best first | busier side (server : clients, of a core) |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [line(entry, folder, remarks) for entry in ROWS]
    if remarks:
        lines += ["", "Where a peer is ahead of Starling by the lower quartile: " + "; ".join(remarks) + "."]
    results = [result for entry in ROWS if (result := kept.read(folder, f"{entry[2]}-peers") or kept.read(folder, entry[2]))]
    if results:
        machine = results[0]["machine"]
        least = min(result["runs"] for result in results)
        lines += ["", f"Medians of at least {least} alternating runs; ratios are of lower quartiles. {machine['cpu']}, {machine['cores']} cores, "
                  f"Linux {machine['kernel']}; commits {', '.join(sorted({result['commit'] for result in results}))}."]
    return "\n".join(lines)


def main(folder, write):
    table = text(folder)
    print(table)
    if write:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")
    return 0

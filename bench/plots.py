#!/usr/bin/env python3
"""Draws what bench/results/ keeps as SVG into docs/benchmarks/: how cost grows, and the peers side by side.

Needs matplotlib (Debian: python3-matplotlib).
"""

import argparse
import pathlib
import sys
import textwrap

import kept
from kept import RESULTS, ROOT
from scenarios import GROWTH, SCENARIOS, WITH_PEERS

try:
    import matplotlib
    matplotlib.use("svg")
    from matplotlib import pyplot
except ImportError:
    sys.exit("matplotlib is not installed (Debian: python3-matplotlib)")

NAMES = {"cpu_s_per_million": "CPU seconds of the server for a million deliveries", "p50_ms": "median latency, ms",
         "p99_ms": "p99 latency, ms", "pss_bytes": "proportional memory of a connection, bytes",
         "connect_cpu_us": "CPU to connect, microseconds", "idle_cpu_ms_per_s": "CPU while idle, ms each second",
         "all_cpu_s_per_million": "CPU seconds of both nodes and Redis for a million deliveries",
         "change_cpu_us": "CPU for a join or leave, each who sees it, us",
         "message_cpu_us": "CPU for a message to a room of ten, microseconds",
         "join_p50_ms": "a join until it is seen, median, ms", "join_p99_ms": "a join until it is seen, p99, ms",
         "cpu_us_per_cycle": "CPU of the server for a connection, microseconds"}
COLOURS = {"raw": "#888888", "raw-writev": "#888888", "starling": "#1f6fb4"}

# The same drawing, byte for byte, from the same figures.
pyplot.rcParams.update({"svg.hashsalt": "starling", "svg.fonttype": "path", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
                        "axes.spines.top": False, "axes.spines.right": False})


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    print(path)


def draw_growth(name, series, folder):
    figures = GROWTH[name][3]
    columns = min(3, len(figures))
    rows = -(-len(figures) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.2 * columns, 3.2 * rows), squeeze=False)
    for axis, wanted in zip(axes.flat, figures):
        for target in series["points"][0]["targets"]:
            points = [(point["value"], each[wanted]) for point in series["points"] for each in point["targets"]
                      if each["target"] == target["target"] and wanted in each]
            if not points or (wanted == "pss_bytes" and target["target"] == "raw"):
                continue
            colour = COLOURS.get(target["target"])
            values = [value for value, _ in points]
            axis.plot(values, [spread["median"] for _, spread in points], marker="o", markersize=4, color=colour, label=target["target"])
            axis.fill_between(values, [spread["lower_quartile"] for _, spread in points], [spread["most"] for _, spread in points],
                              color=colour, alpha=0.15, linewidth=0)
        if len(series["points"]) > 2:
            axis.set_xscale("log")
        axis.set_xticks([point["value"] for point in series["points"]], [f"{point['value']:,}" for point in series["points"]])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel(textwrap.fill(GROWTH[name][0], 50))
        axis.set_title(NAMES[wanted], fontsize=9)
        axis.legend(frameon=False)
    save(figure, folder / f"growth-{name}.svg")


def draw_peers(name, result, folder):
    wanted = SCENARIOS[name][3][1 if name == "rate" else 0]
    there = [target for target in result["targets"] if wanted in target and not (wanted == "pss_bytes" and target["target"] == "raw")]
    there.sort(key=lambda target: target[wanted]["median"], reverse=True)
    figure, axis = pyplot.subplots(figsize=(6.4, 0.9 + 0.3 * len(there)))
    names = [target["target"].removeprefix("peer:") for target in there]
    medians = [target[wanted]["median"] for target in there]
    bars = axis.barh(names, medians, color=[COLOURS.get(each, "#c9b27c") for each in names])
    axis.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in medians], padding=3)
    axis.margins(x=0.12)
    axis.grid(axis="y", visible=False)
    axis.set_title(f"{textwrap.fill(SCENARIOS[name][0], 75)}\n{NAMES[wanted]}", fontsize=9)
    save(figure, folder / f"peers-{name}.svg")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "benchmarks")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    growth = kept.read(options.results, "growth") or {"series": {}}
    for name, series in growth["series"].items():
        if series["points"]:
            draw_growth(name, series, options.out)
    for name in WITH_PEERS:
        result = kept.read(options.results, f"{name}-peers")
        if result:
            draw_peers(name, result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

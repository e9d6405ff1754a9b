"""The result files in bench/results/: where a figure comes from, and how the values of several calls become one."""

import datetime
import json
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"cpu": model, "cores": os.cpu_count(), "memory_mb": memory // 1024, "kernel": platform.release(),
            "load_average": list(os.getloadavg())}


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no", "src") else "")


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def read(folder, name):
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write(folder, name, value):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")


def spread(values):
    values = sorted(values)

    def at(share):
        place = share * (len(values) - 1)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * (place - low)
    return {"lower_quartile": at(0.25), "median": at(0.5), "least": values[0], "most": values[-1], "values": values}


def merge(earlier, later):
    """The targets of two calls of the load tool with the same command, as if they had been one call."""
    found = {target["target"]: target for target in earlier}
    out = []
    for target in later:
        before = found.get(target["target"], {})
        merged = {"target": target["target"]}
        if "failure" in target:
            merged["failure"] = target["failure"]
        for figure in [name for name, value in target.items() if isinstance(value, dict)]:
            merged[figure] = spread(before.get(figure, {}).get("values", []) + target[figure]["values"])
        out.append(merged)
    for target in out[1:]:
        for figure, value in target.items():
            base = out[0].get(figure)
            if isinstance(value, dict) and isinstance(base, dict) and base["lower_quartile"] > 0:
                value["ratio_to_first"] = {key: value[key] / base[key] for key in ("lower_quartile", "median")}
    return round_all(out)


def round_all(value):
    if isinstance(value, dict):
        return {key: round_all(each) for key, each in value.items()}
    if isinstance(value, list):
        return [round_all(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value

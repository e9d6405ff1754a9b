#!/usr/bin/env python3
"""Checks what no compiler does: floors, purity, sizes, folder READMEs and stray files.

Prints each finding as `file:line: what`, warnings apart, and ends with `N passed, N failed`.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A floor and what it may include; the CMake link lines say the same.
FLOORS = {
    "base": {"base"},
    "codec": {"base", "codec"},
    "domain": {"base", "codec", "domain"},
    "engine": {"base", "codec", "domain", "engine"},
    "net": {"base", "codec", "net"},
    "server": {"base", "codec", "domain", "engine", "net", "server"},
}
PURE = {"codec", "domain", "engine"}
# Time, chance, threads and the kernel belong to the driver.
IMPURE = re.compile(
    r"\b(?:system_clock|steady_clock|high_resolution_clock|random_device|clock_gettime|gettimeofday|std::rand|"
    r"std::thread|std::jthread|std::mutex|std::condition_variable|std::async|RAND_bytes|std::time\b|getenv)\b|"
    r"#include <(?:sys/|netinet/|arpa/(?!inet\.h)|thread|mutex|condition_variable|future|random|unistd|poll\.h|netdb)")
FORBIDDEN = re.compile(r"#include <(?:iostream|regex|boost/)")
SPILLING = re.compile(r"using namespace (?!std::chrono_literals)")     # In a header, over every file that includes it.
INCLUDE = re.compile(r'^\s*#include "([^"/]+)/[^"]+"')
SOURCE = {".h", ".cpp"}
LINES_MAX = 400
README_LINES_MAX = 15
STRAY = re.compile(r"(?:\.orig|\.rej|\.swp|~|\.o|\.a|\.so|\.log|\.tmp|\.bak)$|(?:^|/)(?:a\.out|core|nohup\.out|\.DS_Store)$")


def tracked():
    out = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, check=True).stdout.decode()
    return [pathlib.PurePosixPath(name) for name in out.split("\0") if name and (ROOT / name).exists()]


def without_comments(line):
    return line.split("//", 1)[0]


def check_source(path, text, errors, warnings):
    floor = path.parts[1] if path.parts[0] == "src" and len(path.parts) > 2 else None
    for number, line in enumerate(text.splitlines(), 1):
        code = without_comments(line)
        if FORBIDDEN.search(code) or path.suffix == ".h" and SPILLING.search(code):
            errors.append(f"{path}:{number}: {code.strip()} is not used here")
        if floor is None:
            continue
        include = INCLUDE.match(line)
        if include and include[1] in FLOORS and include[1] not in FLOORS[floor]:
            errors.append(f"{path}:{number}: floor {floor} may not include {include[1]}")
        if floor in PURE and not path.name.endswith("_test.cpp") and IMPURE.search(code):
            errors.append(f"{path}:{number}: {floor} is pure, but: {code.strip()}")
        if "spdlog" in code and str(path) != "src/base/log.cpp":
            errors.append(f"{path}:{number}: only src/base/log.cpp knows the logging library")
    if path.suffix == ".h" and not text.startswith("#pragma once\n//"):
        errors.append(f"{path}:1: a header opens with #pragma once and a comment that says what it is")
    lines = text.count("\n")
    if lines > LINES_MAX:
        warnings.append(f"{path}: {lines} lines, look for the second story")


def check_readme(folder, errors):
    readme = ROOT / folder / "README.md"
    if not readme.exists():
        errors.append(f"{folder}/README.md: missing (purpose, key types, where to start)")
    elif len(readme.read_text().splitlines()) > README_LINES_MAX:
        errors.append(f"{folder}/README.md: more than {README_LINES_MAX} lines")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()

    files, errors, warnings, checked = tracked(), [], [], 0
    for path in files:
        before = len(errors)
        if STRAY.search(str(path)):
            errors.append(f"{path}: a stray file")
        if path.suffix in SOURCE:
            check_source(path, (ROOT / path).read_text(), errors, warnings)
        checked += len(errors) == before
    folders = {f"src/{path.parts[1]}" for path in files if path.parts[0] == "src" and len(path.parts) > 2}
    folders |= {path.parts[0] for path in files if path.parts[0] in ("fuzz", "tools", "tests", "bench", "sim") and len(path.parts) > 1}
    for folder in sorted(folders):
        before = len(errors)
        check_readme(folder, errors)
        checked += len(errors) == before

    for line in warnings:
        print("warning:", line)
    for line in errors:
        print(line)
    failed = len({line.split(":", 1)[0] for line in errors})
    print(f"{checked} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

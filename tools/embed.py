#!/usr/bin/env python3
"""Writes the C++ table of embedded files (src/server/embedded.h) from folders of built pages."""

import argparse
import hashlib
import pathlib
import sys

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
    ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json",
}


def literal(content):
    """Octal escapes of three digits, so that no digit after one can join it; a line for each 96 bytes."""
    def letter(byte):
        char = chr(byte)
        return char if 32 <= byte < 127 and char not in '"\\?' else f"\\{byte:03o}"
    rows = ["".join(letter(byte) for byte in content[i:i + 96]) for i in range(0, len(content), 96)] or [""]
    return "\n        ".join(f'"{row}"' for row in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--folder", action="append", default=[], metavar="PREFIX=FOLDER",
                        help="serves FOLDER's files under /PREFIX/; may be absent")
    options = parser.parse_args()

    rows = []
    for pair in options.folder:
        prefix, _, folder = pair.partition("=")
        folder = pathlib.Path(folder)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if not path.is_file() or path.suffix not in MEDIA_TYPES:
                continue
            content = path.read_bytes()
            etag = hashlib.sha256(content).hexdigest()[:16]
            rows.append(f'    {{"/{prefix}/{path.relative_to(folder).as_posix()}", "{MEDIA_TYPES[path.suffix]}", "\\"{etag}\\"",\n'
                        f"     std::string_view({literal(content)}, {len(content)})}},\n")
    text = ("// Made by tools/embed.py from the built pages.\n#include \"server/embedded.h\"\n\n#include <vector>\n\n"
            "namespace starling::server {\n\nstd::span<const EmbeddedFile> embedded_files() {\n"
            "    static const std::vector<EmbeddedFile> files = {\n" + "".join(rows) + "    };\n    return files;\n}\n\n}  // namespace starling::server\n")
    options.output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

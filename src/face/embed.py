#!/usr/bin/env python3
"""embed.py WEB_DIR OPENAPI OUT.S OUT_TABLE.c OUT.bin - pack the page into the binary.

Every file under WEB_DIR goes into OUT.bin as it is, gzipped, and as brotli where a NAME.br lies beside it (made by
Node when the page was built; Python has no brotli). OUT.S draws that one file in with .incbin, OUT_TABLE.c says where
each piece lies (face/asset.h). A packed form that saves less than a tenth is left out. Outputs are only written when
their content changes, so that nothing is compiled again for the same page; equal input gives equal bytes.
"""
import gzip
import hashlib
import os
import re
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
# Vite names files by their content: index-CpIhcXYy.css. Such a name never means anything else again.
HASHED = re.compile(r"^/assets/.+-[A-Za-z0-9_-]{8}\.\w+$")
WORTH = 0.9


def files_of(web_dir):
    """(address, path on disk), sorted; index.html is the address "/"."""
    for folder, dirs, names in os.walk(web_dir):
        dirs.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            address = "/" + os.path.relpath(path, web_dir).replace(os.sep, "/")
            if name.startswith(".") or name.endswith((".br", ".gz")):
                continue
            if os.path.splitext(name)[1] not in TYPES:
                sys.exit(f'embed.py: no content type is known for "{path}"\nHint: Add it to TYPES in embed.py.')
            yield ("/" if address == "/index.html" else address), path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def variants(path):
    """plain, gzip, brotli; the packed ones empty where they do not pay."""
    plain = read(path)
    packed = gzip.compress(plain, 9, mtime=0)
    brotli = read(path + ".br") if os.path.exists(path + ".br") else b""
    return [plain] + [p if len(p) < WORTH * len(plain) else b"" for p in (packed, brotli)]


def quote(text):
    if not re.fullmatch(r"[ -~]+", text) or '"' in text or "\\" in text:
        sys.exit(f"embed.py: a name that cannot be served: {text!r}")
    return f'"{text}"'


def write_if_changed(path, content):
    if os.path.exists(path) and read(path) == content:
        return
    with open(path, "wb") as f:
        f.write(content)


def main():
    web_dir, openapi, out_s, out_table, out_bin = sys.argv[1:]
    if not os.path.exists(os.path.join(web_dir, "index.html")):
        sys.exit(f'embed.py: "{web_dir}" has no index.html\nHint: Build the page with tools/web-build, or leave the option web empty.')
    blob, rows = b"", []
    for address, path in [*files_of(web_dir), ("/api/galen/v1/openapi.json", openapi)]:
        cells = []
        for piece in variants(path):
            cells.append(f"{{ assets_bytes + {len(blob)}, {len(piece)} }}" if piece else "{ NULL, 0 }")
            blob += piece
        tag = hashlib.sha256(read(path)).hexdigest()[:16]
        rows.append(f"    {{ {quote(address)}, {quote(TYPES[os.path.splitext(path)[1]])}, \"\\\"{tag}\\\"\", "
                    f"{'true' if HASHED.match(address) else 'false'},\n      {', '.join(cells)} }},\n")
    write_if_changed(out_bin, blob)
    write_if_changed(out_s, f"""/* made by face/embed.py; {hashlib.sha256(blob).hexdigest()} */
    .section .rodata
    .global assets_bytes
    .balign 16
assets_bytes:
    .incbin "{os.path.abspath(out_bin)}"
    .byte 0
    .section .note.GNU-stack,"",%progbits
""".encode())
    write_if_changed(out_table, ("/* made by face/embed.py */\n#include \"face/asset.h\"\n\nconst asset assets[] = {\n" +
                                 "".join(rows) + f"}};\nconst size_t asset_count = {len(rows)};\n").encode())


main()

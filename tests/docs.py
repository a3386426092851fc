#!/usr/bin/env python3
"""tests/docs.py GALEN - the documents tell the truth as far as a machine can see it.

  links     every relative link and picture in *.md leads to a file, every #part to a heading
  examples  every ```yaml block that begins with "# galen.yml", "# rules/..." or "# policies/..." passes `galen check`
  chapters  docs/en and docs/zh have the same chapters with the same headings, tables and examples
  keys      each key and default in the tables of src/ stands in configuration.md, in both languages
  features  each row of docs/features.md that works, even partly, names tests that exist; the counts in its head are right
Ends with "N passed, N failed".
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIPPED = re.compile(r"(^|/)(node_modules|build(-[^/]*)?|galen-data|\.git)(/|$)")
passed = failed = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL:", what)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def pages():
    found = []
    for folder, folders, files in os.walk(ROOT):
        here = os.path.relpath(folder, ROOT)
        folders[:] = [d for d in folders if not SKIPPED.search(os.path.normpath(os.path.join(here, d)))]
        found += [os.path.normpath(os.path.join(here, f)) for f in files if f.endswith(".md")]
    return sorted(found)


FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.S | re.M)


# ---- links ----

def anchor(heading):
    """The id that GitHub gives a heading."""
    text = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path):
    return {anchor(h) for h in re.findall(r"^#+ (.*)$", FENCE.sub("", read(path)), re.M)}


def check_links(page):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", read(page)))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, part = target.partition("#")
        full = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        there = os.path.exists(os.path.join(ROOT, full))
        check(there, f"{page}: {target} leads nowhere")
        if there and part:
            check(part in anchors(full), f"{page}: {target}: {full} has no such heading")


# ---- examples ----

def blocks(page):
    for indent, language, body in FENCE.findall(read(page)):
        yield language, "".join(line[len(indent):] if line.startswith(indent) else line for line in body.splitlines(True))


def galen_accepts(galen, folder, body):
    """None if the block is not an example of ours; else what galen said against it, "" if nothing."""
    kind = re.match(r"# (galen\.yml|rules/|policies/)", body)
    if not kind:
        return None
    example = os.path.join(folder, "example.yml")
    with open(example, "w", encoding="utf-8") as f:
        f.write(body)
    command = [galen, "check", "rules" if kind[1] == "rules/" else "config", example]
    if kind[1] == "policies/":
        command[-1] = os.path.join(folder, "galen.yml")
        with open(command[-1], "w", encoding="utf-8") as f:
            f.write("heal: {policies: [example.yml]}\n")
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "" if run.returncode == 0 else run.stderr.strip() or f"exit code {run.returncode}"


def check_examples(galen, page, folder):
    for language, body in blocks(page):
        said = galen_accepts(galen, folder, body) if language == "yaml" else None
        if said is not None:
            check(said == "", f"{page}: an example is refused: {said}\n{body}")


# ---- both languages ----

def shape(page):
    """What both languages share: headings and table rows by number, examples without their comments."""
    text = read(page)
    bare = FENCE.sub("", text)
    examples = []
    for language, body in blocks(page):
        if language == "yaml":
            examples.append([re.sub(r"\s+#.*$", "", line).strip() for line in body.splitlines()])
    return {"headings": [len(h) for h in re.findall(r"^(#+) ", bare, re.M)],
            "table rows": [line.count(" | ") for line in bare.splitlines() if line.startswith("| ")],
            "yaml examples": examples}


def check_chapters():
    names = {lang: sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "docs", lang, "*.md"))) for lang in ("en", "zh")}
    check(names["en"] == names["zh"], f"chapters differ: en {names['en']}, zh {names['zh']}")
    for name in sorted(set(names["en"]) & set(names["zh"])):
        en, zh = shape(f"docs/en/{name}"), shape(f"docs/zh/{name}")
        for part in en:
            check(en[part] == zh[part], f"docs/en/{name} and docs/zh/{name} differ in their {part}: {en[part]} and {zh[part]}")
        check(re.search(r"[\u4e00-\u9fff]", read(f"docs/zh/{name}")) is not None, f"docs/zh/{name} is not in Chinese")


# ---- keys ----

TABLES = ["src/main/settings.c", "src/watch/watch_config.c", "src/diagnose/diagnose_config.c", "src/heal/heal_config.c"]
ROW = re.compile(r'^\s*(?:\{ *(?:\.key = )?|R\(|FIELD\(|JOB\()"([a-z_]+)",(.*?)(?=^\s*(?:\{ *(?:\.key = )?|R\(|FIELD\(|JOB\()"|^\};)', re.S | re.M)


def keys_of(source):
    """(key, default) of each row of a file's tables of config_field."""
    for name, table in re.findall(r"config_field (\w+)\[\] = \{\n(.*?^\};)", read(source), re.S | re.M):
        if name == "global_fields":
            continue  # Prometheus's own file
        for key, rest in ROW.findall(table):
            preset = re.search(r'\.preset = "([^"]*)"|(?:false|true), "([^"]*)"|DEFAULT_STALL_AFTER|^ \w+, [\w.]+, "([^"]*)"|^ \w+, "([^"]*)"', rest)
            default = next((g for g in preset.groups() if g), None) if preset else None
            yield key, default


def gives(line, key, default):
    """In a table the default has a cell of its own, in a sentence it follows the key."""
    cells = [cell.strip() for cell in line.split("|")]
    return (len(cells) > 4 and cells[3] == default) or f"`{key}` {default}" in line


def check_keys():
    for lang in ("en", "zh"):
        text = read(f"docs/{lang}/configuration.md")
        for source in TABLES:
            for key, default in keys_of(source):
                named = [line for line in text.splitlines() if re.search(r"[`.]" + key + "`", line)]
                check(named, f"docs/{lang}/configuration.md: key {key} of {source} is missing")
                if named and default:
                    check(any(gives(line, key, default) for line in named), f"docs/{lang}/configuration.md: default {default} of {key} ({source}) is missing")


# ---- features ----

def proof_exists(name):
    """A path as docs/features.md writes it: below src/ unless it begins with another folder of the root."""
    make = re.fullmatch(r"make ([a-z-]+)", name)
    if make:
        return re.search(rf"^{make[1]}:", read("Makefile"), re.M) is not None
    return any(glob.glob(os.path.join(ROOT, base, name + end)) for base in ("src", ".") for end in ("", ".c"))


def check_features():
    text = read("docs/features.md")
    counted = {"works": 0, "partly": 0, "not yet": 0}
    tests = "".join(read(os.path.relpath(p, ROOT)) for p in glob.glob(os.path.join(ROOT, "src/**/*_test.c"), recursive=True))
    for row in re.findall(r"^\| P.*\|$", text, re.M):
        number, (state, proof) = row.split(" | ")[0].strip("| "), (cell.strip("|* ") for cell in row.rsplit(" | ", 2)[1:])
        check(state in counted, f"docs/features.md: {number}: the state \"{state}\" is none")
        counted[state] = counted.get(state, 0) + 1
        if state == "not yet":
            continue
        names = [n for n in re.findall(r"`([^`]+)`", proof) if not n.startswith("/")]
        check(names, f"docs/features.md: {number} {state} and names no test")
        for name in names:
            check(proof_exists(name), f"docs/features.md: {number} names {name}, which is not there")
        for inside in re.findall(r"\(([^)]*)\)", proof):
            for test in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){3,}\b", inside):
                check(f"({test})" in tests, f"docs/features.md: {number} names the test {test}, which is not there")
    head = re.search(r"^(\d+) work, (\d+) partly, (\d+) not yet", text, re.M)
    check(head and [int(n) for n in head.groups()] == [counted["works"], counted["partly"], counted["not yet"]],
          f"docs/features.md: its head says {head and head[0]}, its rows {counted}")


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    galen = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("rules", "policies"):
            os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
        for page in pages():
            check_links(page)
            check_examples(galen, page, folder)
    check_chapters()
    check_keys()
    check_features()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

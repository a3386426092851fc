#!/usr/bin/env python3
"""tests/conformance.py --galen BINARY --runners FOLDER [--update] - what passed once must go on passing.

FOLDER holds black-box runners that were not written by us (promqltest.py with its testdata, api.py; judged against
Prometheus). galen does not pass all of their cases yet; those it passes are listed in tests/conformance.txt, one a
line, and each of them must pass again. --update writes the list anew: it may grow, and the diff shows it if it shrinks.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LIST = Path(__file__).with_name("conformance.txt")
RUN_S = 600


def run(folder, script, arguments, out):
    """Results of one runner, whatever its exit status: failing cases are expected, no results are not."""
    done = subprocess.run([sys.executable, script, "--server", "galen", *arguments, "--json", out], cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=RUN_S)
    if not os.path.exists(out):
        sys.exit(f"{script} gave no results:\n{done.stdout[-3000:]}")
    return json.loads(Path(out).read_text(encoding="utf-8"))["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galen", required=True, type=os.path.abspath)
    parser.add_argument("--runners", required=True, type=os.path.abspath)
    parser.add_argument("--update", action="store_true")
    options = parser.parse_args()
    os.environ["GALEN"] = options.galen
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    passed, failed = set(), {}
    with tempfile.TemporaryDirectory() as tmp:
        for r in run(options.runners, "promqltest.py", ["--testdata", "testdata"], f"{tmp}/promql.json"):
            name = f"promql {r['file']}:{r['line']}"
            if r["status"] in ("pass", "soft"):
                passed.add(name)
            else:
                failed[name] = f"{r['expr']}: {r.get('why')}"
        for r in run(options.runners, "api.py", [], f"{tmp}/api.json"):
            name = f"api {r['name']}"
            if r["status"] == "pass":
                passed.add(name)
            else:
                failed[name] = r["note"]
    passed -= set(failed)                       # a line with several cases passes as a whole or not
    if options.update:
        LIST.write_text("".join(f"{n}\n" for n in sorted(passed)), encoding="utf-8")
    listed = set(LIST.read_text(encoding="utf-8").splitlines()) if LIST.exists() else set()
    lost = sorted(listed - passed)
    for name in lost:
        print(f"FAIL {name}: {failed.get(name, 'not run')}")
    print(f"{len(listed)} listed; of all {len(passed) + len(failed)} cases {len(passed)} pass")
    if passed - listed:
        print(f"{len(passed - listed)} pass that are not listed yet: run with --update")
    print(f"{len(listed) - len(lost)} passed, {len(lost)} failed")
    return 1 if lost or not listed else 0


sys.exit(main())

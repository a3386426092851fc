#!/usr/bin/env python3
"""tests/scenario/report.py FILE.json... - what many rounds of the demo say together.

Per fault: how often it was injected and healed, the median and worst times, requests lost; then the loads and how many
restarts nobody had asked for. Exit status 1 if a round is missing anything.
"""
import json
import statistics
import sys
from pathlib import Path


def times(rows, key):
    values = [r[key] for r in rows if key in r]
    return f"{statistics.median(values):.1f} / {max(values):.1f} s" if values else "-"


def main():
    rows, problems = [], []
    for name in sys.argv[1:]:
        if not Path(name).exists():
            continue
        part = json.loads(Path(name).read_text(encoding="utf-8"))
        rows += part["rows"]
        problems += [f"{name}: {p}" for p in part["problems"]]
    print("\nscenario report (median / worst)")
    faults = [r for r in rows if "seconds" not in r]
    for fault in dict.fromkeys(r["fault"] for r in faults):
        some = [r for r in faults if r["fault"] == fault]
        healed = sum(not r["missing"] for r in some)
        print(f"  {fault:18} healed {healed} of {len(some)}; detected {times(some, 'detected_s')}, "
              f"alert {times(some, 'alert_s')}, recovered {times(some, 'recovered_s')}, "
              f"requests lost {sum(r['lost'] for r in some)}")
    for r in rows:
        if "seconds" in r:
            verdict = f"MISSING: {r['missing']}" if r["missing"] else "nothing restarted"
            print(f"  {r['fault']:18} {r['seconds']} s, {r.get('answered', 0)} answers, seen as {r['cause']}; {verdict}")
    bad = [r for r in rows if r["missing"]]
    for problem in problems + [f"{r['fault']}: {r['missing']}" for r in bad]:
        print(f"  problem: {problem}")
    print(f"{len(rows) - len(bad)} passed, {len(bad) + len(problems)} failed")
    return 1 if bad or problems or not rows else 0


sys.exit(main())

#!/usr/bin/env python3
"""tests/differential.py GALEN - random samples, random PromQL, galen's answers beside Prometheus's and its own.

    --seed N --cases 400 --show 10 --no-peer

The same series (gauges, counters with resets, histograms; gaps, stale markers, NaN, infinities) go into galen and
Debian's prometheus (2.42) by remote write; random expressions of what both know are asked as instant and as range
queries. Then galen is flushed (/-/flush), killed and started again, and each time all its answers must be the same to
the last digit. Left out is what 2.42 got wrong. No sample and no step of a subquery lies on a window's edge, where 3.x is left-open and 2.42 is not.
Prints what differs; the last line counts; exit status 1 when something did. 77: no prometheus here.
"""
import argparse
import json
import math
import random
import shutil
import signal
import struct
import sys
import time

from promapi import galen, prometheus

SCRAPE_S = 15
STEPS = 480                       # two hours of samples
OFF_MS = 7                        # samples lie beside full seconds …
ASK_MS = 3                        # … and questions elsewhere beside them
STALE = struct.pack("<Q", 0x7FF0000000000002)
NAN = struct.pack("<Q", 0x7FF8000000000001)
DENSE = (0, 0, 0.02)              # with resets and large gaps 2.42 extrapolates otherwise
BOUNDS = ["0.1", "0.5", "1", "2.5", "5", "+Inf"]


# ---- samples ----

def some_series(rng, start_ms):
    """[(labels, [(t_ms, value)])]"""
    out = []

    def times(missing):
        return [start_ms + i * SCRAPE_S * 1000 + OFF_MS for i in range(STEPS) if rng.random() > missing]

    def add(labels, values, missing=(0, 0, 0.02, 0.3)):
        at = times(rng.choice(missing))
        kept = list(zip(at, values(len(at))))
        if rng.random() < 0.2 and len(kept) > 50:      # ends, and begins again
            cut = rng.randrange(10, len(kept) - 20)
            kept[cut] = (kept[cut][0], STALE)
            del kept[cut + 1:cut + rng.randrange(2, 30)]
        out.append((labels, kept))

    def walk(n):
        v, result = rng.uniform(-50, 50), []
        for _ in range(n):
            v += rng.gauss(0, 1)
            odd = rng.random()
            result.append(NAN if odd < 0.002 else math.inf if odd < 0.003 else round(v, 3))
        return result

    def counter(n, per_step=20.0, whole=True):
        v, result = 1e6, []                            # far from zero, where 2.42 extrapolates otherwise
        for _ in range(n):
            v += rng.expovariate(1 / per_step)
            if rng.random() < 0.004:
                v = 1e6
            result.append(math.floor(v) if whole else round(v, 2))
        return result

    for job in ("api", "batch"):
        for instance in ("a:1", "b:2", "c:3"):
            base = {"job": job, "instance": instance}
            for mode in ("user", "system", "idle"):
                add({**base, "__name__": "cpu_seconds_total", "mode": mode}, lambda n: counter(n, 3, False), DENSE)
            add({**base, "__name__": "requests_total", "code": rng.choice(["200", "500"])}, counter, DENSE)
            add({**base, "__name__": "temperature", "zone": rng.choice(["x", "y"])}, walk)
            add({**base, "__name__": "build_info", "version": rng.choice(["1", "2"])}, lambda n: [1] * n)
            at, totals = times(0), [1e6] * len(BOUNDS)
            buckets = [[] for _ in BOUNDS]
            for t in at:
                for _ in range(rng.randrange(6)):
                    low = min(int(rng.expovariate(0.7)), len(BOUNDS) - 1)
                    for i in range(low, len(BOUNDS)):
                        totals[i] += 1
                for i in range(len(BOUNDS)):
                    buckets[i].append((t, totals[i]))
            for bound, values in zip(BOUNDS, buckets):
                out.append(({**base, "__name__": "latency_bucket", "le": bound}, values))
    return out


# ---- expressions ----

def window(rng):
    return rng.choice(["1m", "2m30s", "5m", "10m", "17m", "1h"])


def matchers(rng):
    return "{" + ",".join(rng.sample(['job="api"', 'instance=~"a:.|b:.+"', 'job!="api"', 'instance!~"c.*"', 'job=~".+"', 'mode=~"user|idle"'],
                                     rng.randrange(0, 3))) + "}"


def modifier(rng):
    return rng.choice([""] * 6 + [" offset 4m", " offset -3m", " @ start()", " @ end()"])


GAUGES = ["temperature", "build_info", "latency_bucket", "cpu_seconds_total", "requests_total"]
COUNTERS = ["cpu_seconds_total", "requests_total", "latency_bucket"]
OVER = ["avg_over_time", "sum_over_time", "min_over_time", "max_over_time", "count_over_time", "stddev_over_time",
        "stdvar_over_time", "last_over_time", "present_over_time", "changes", "resets", "deriv", "delta", "idelta"]
MATH = ["abs", "ceil", "floor", "sqrt", "exp", "ln", "log2", "log10", "sgn", "sin", "cos", "atan", "deg", "rad", "round", "timestamp"]


def instant(rng):
    return rng.choice(GAUGES) + matchers(rng) + modifier(rng)


def ranged(rng, depth, at=True):
    if depth > 0 and rng.random() < 0.2:
        inner = vector(rng, 0, False)    # no subquery in a subquery: its steps would lie on the edges of windows
        return f"{inner}[{rng.choice(['10m', '23m', '1h'])}:{rng.choice(['1m', '30s', '2m'])}]"
    return f"{rng.choice(GAUGES)}{matchers(rng)}[{window(rng)}]{modifier(rng) if at else ''}"


def scalar(rng):
    return rng.choice(["2", "0.5", "-1", "100", "NaN", "Inf", "scalar(sum(build_info))", "pi()", "vector(3) * 2"])


def grouping(rng):
    return rng.choice(["", "by (job) ", "by (instance, mode) ", "without (instance) ", "by (le) ", "without (job, le) "])


def vector(rng, depth, top=True):
    """An instant vector as text. What orders or picks by value stands at the root only: ties may fall either way below."""
    pick = rng.randrange(12 if depth > 0 else 3)
    if pick == 0:
        return instant(rng)
    if pick == 1:
        return f"{rng.choice(['rate', 'increase', 'irate'])}({rng.choice(COUNTERS)}{matchers(rng)}[{window(rng)}]{modifier(rng)})"
    if pick == 2:
        return f"{rng.choice(OVER)}({ranged(rng, depth)})"
    inner = vector(rng, depth - 1, False)
    if pick == 3:
        return f"{rng.choice(['sum', 'avg', 'min', 'max', 'count', 'group'])} {grouping(rng)}({inner})"
    if pick == 4:
        return f"quantile {grouping(rng)}({rng.choice(['0', '0.5', '0.9', '1'])}, {inner})"
    if pick == 5:
        return f"({inner} {rng.choice(['+', '-', '*', '/', '%', '^', '>', '<=', '==', '!=', '> bool'])} {scalar(rng)})"
    if pick == 6:
        op = rng.choice(["+", "-", "*", "/", ">", "< bool", "and", "or", "unless"])
        on = rng.choice(["", "on (job, instance) ", "ignoring (mode) "])
        one = "max by (job, instance) " if on else ""
        return f"({one}({inner}) {op} {on}{one}({vector(rng, depth - 1, False)}))"
    if pick == 7:
        return f"{rng.choice(MATH)}({inner})"
    if pick == 8:
        return f"histogram_quantile({rng.choice(['0.4871', '0.8731', '0.9613'])}, {rng.choice(['', 'sum by (le, job) '])}(rate(latency_bucket{matchers(rng)}[{window(rng)}])))"
    if pick == 9:
        return f"{rng.choice(['clamp_min', 'clamp_max'])}({inner}, {rng.choice(['0', '5', '-3'])})"
    if pick == 10:
        return f'label_replace({inner}, "to", "$1-x", "instance", "(.*):.*")'
    if top and rng.random() < 0.5:
        return f"{rng.choice(['absent', 'sort', 'sort_desc'])}({inner})"
    return f"quantile_over_time({rng.choice(['0.1', '0.95'])}, {ranged(rng, depth)})" if rng.random() < 0.6 else \
        f"predict_linear({ranged(rng, depth, False)}, 600)"    # 2.42 lets @ slide along there


# ---- comparing ----

def rows(answer):
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return {"": [tuple(data["result"])]}
    return {json.dumps(s["metric"], sort_keys=True): [tuple(p) for p in s.get("values", [s.get("value")])] for s in data["result"]}


def close(a, b, scale):
    x, y = float(a), float(b)
    return x == y or (math.isnan(x) and math.isnan(y)) or abs(x - y) <= 1e-9 * max(abs(x), abs(y)) + 1e-12 * scale


def difference(mine, theirs, exact):
    """None, or what differs, in one line."""
    (status, a), (other_status, b) = mine, theirs
    if status != 200 or other_status != 200:
        return None if (status == 200) == (other_status == 200) else f"{status} {a.get('error')} against {other_status} {b.get('error')}"
    a, b = rows(a), rows(b)
    if a.keys() != b.keys():
        return f"only here {sorted(a.keys() - b.keys())[:2]}, only there {sorted(b.keys() - a.keys())[:2]}"
    for key in a:
        if [t for t, _ in a[key]] != [t for t, _ in b[key]]:
            return f"{key}: {len(a[key])} points against {len(b[key])}"
        scale = 0 if exact else max([abs(float(v)) for _, v in b[key] if math.isfinite(float(v))] + [1e6])
        for (t, v), (_, w) in zip(a[key], b[key]):
            if v != w if exact else not close(v, w, scale):
                return f"{key} at {t}: {v} against {w}"
    return None


class Questions:
    def __init__(self, rng, n, start_ms):
        end = start_ms + STEPS * SCRAPE_S * 1000
        self.asked = []
        for _ in range(n):
            expr = vector(rng, rng.randrange(4))
            if rng.random() < 0.5:
                self.asked.append(("query", dict(query=expr, time=self.time(rng, start_ms, end))))
            else:
                first = rng.randrange(start_ms // 1000, end // 1000 - 600) + ASK_MS / 1000
                self.asked.append(("query_range", dict(query=expr, start=f"{first:.3f}", end=f"{first + rng.randrange(300, 3600):.3f}",
                                                       step=rng.choice([7, 15, 60, 61, 300]))))

    @staticmethod
    def time(rng, start_ms, end_ms):
        return f"{rng.randrange(start_ms // 1000, end_ms // 1000) + ASK_MS / 1000:.3f}"

    def answers(self, server):
        return [server.api(path, **parameters) for path, parameters in self.asked]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("galen")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cases", type=int, default=400)
    p.add_argument("--show", type=int, default=10)
    p.add_argument("--no-peer", action="store_true")
    o = p.parse_args()
    if not o.no_peer and not shutil.which("prometheus"):
        print("skipped: prometheus is not installed")
        return 77
    rng = random.Random(o.seed)
    start_ms = (int(time.time()) - 3 * 3600) // 7200 * 7200 * 1000 - 3600 * 1000
    samples = some_series(rng, start_ms)
    questions = Questions(rng, o.cases, start_ms)
    mine = galen(o.galen)
    failed = compared = 0
    try:
        mine.start()
        put(mine, samples)
        first = questions.answers(mine)
        rounds = []
        if not o.no_peer:
            peer = prometheus()
            try:
                peer.start()
                put(peer, samples)
                rounds.append(("prometheus 2.42", questions.answers(peer), False))
            finally:
                peer.remove()
        mine.request("POST", "/-/flush")
        rounds.append(("itself after a flush", questions.answers(mine), True))
        mine.stop(signal.SIGKILL)
        mine.start()
        rounds.append(("itself after kill -9", questions.answers(mine), True))
        for name, answers, exact in rounds:
            for question, a, b in zip(questions.asked, first, answers):
                compared += 1
                why = difference(a, b, exact)
                if why:
                    failed += 1
                    if failed <= o.show:
                        print(f"DIFFERS from {name}: {question}\n    {why}")
        refused = sum(status != 200 for status, _ in first)
        empty = sum(status == 200 and not rows(body) for status, body in first)
    finally:
        mine.remove()
    print(f"{compared - failed} passed, {failed} failed ({o.cases} questions, {empty} empty, {refused} refused by both or one; seed {o.seed})")
    return 1 if failed else 0


def put(server, samples):
    """In order of time, as scrapes would come: 40 steps a request."""
    for part in range(0, STEPS, 40):
        chunk = [(labels, s[part:part + 40]) for labels, s in samples if s[part:part + 40]]
        status, text = server.write(chunk)
        if status // 100 != 2:
            raise SystemExit(f"remote write answered {status}: {text[:300]}")


sys.exit(main())

"""bench/store/report.py - what the runs recorded, as Markdown: each figure beside its aim and beside the peers."""
import json
import os
import statistics
import time

AIMS = [  # (part, figure, unit, of a run, aim of galen: at most)
    ("main", "ingest, 10 k series: CPU a million samples", "s", lambda d: d["cpu_s_per_msample"], 0.7),
    ("100k", "ingest, 100 k series: CPU a million samples", "s", lambda d: d["cpu_s_per_msample"], 0.9),
    ("500k", "ingest, 500 k series: CPU a million samples", "s", lambda d: d["cpu_s_per_msample"], 1.2),
    ("100k", "resident memory a series, 100 k series", "KiB", lambda d: above_idle_kib(d), 0.9),
    ("500k", "peak resident memory with queries, 500 k series", "MiB", lambda d: d["rss_peak_all_mb"], 600),
    ("500k", "count of all series, 500 k series", "s", lambda d: question(d, "count all series, instant", "p50_ms", 1e-3), 0.5),
    ("main", "on disk, all included, compacted", "bytes a sample", lambda d: disk(d, "disk_flushed"), 0.9),
    ("main", "acknowledged samples that cannot be read", "", lambda d: d["load"]["acked"] - d["present"], 0),
    ("crash", "acknowledged samples lost by kill -9", "", lambda d: d["missing"], 0),
    ("crash100k", "restart after kill -9, 100 k series", "s", lambda d: d["restart_s"], 0.5),
    ("scrape", "scraping 264 targets a second: CPU a million samples", "s", lambda d: d["cpu_s_per_msample"], 0.9),
]
MORE = [  # figures without an aim
    ("main", "ingest, 10 k series: samples a second", "k", lambda d: d["load"]["samples_per_s"] / 1e3),
    ("main", "request, median", "ms", lambda d: d["load"]["req_p50_ms"]),
    ("main", "request, 99th percentile", "ms", lambda d: d["load"]["req_p99_ms"]),
    ("main", "resident memory, idle", "MiB", lambda d: d["rss_idle_mb"]),
    ("main", "resident memory, peak with queries", "MiB", lambda d: d["rss_peak_all_mb"]),
    ("main", "on disk after ingest", "bytes a sample", lambda d: disk(d, "disk_before")),
    ("main", "CPU of the compaction asked for", "s", lambda d: d["flush_cpu_s"]),
    ("main", "restart after a stop", "s", lambda d: d["restart_s"]),
    ("100k", "restart after a stop, 100 k series", "s", lambda d: d["restart_s"]),
    ("500k", "restart after a stop, 500 k series", "s", lambda d: d["restart_s"]),
    ("scrape", "targets up", "", lambda d: d["up"]),
]
QUERY_AIM = 0.5
NAMES = {"prometheus": "Prometheus", "victoriametrics": "VictoriaMetrics", "galen": "galen"}


def disk(d, key):
    parts = d.get(key)
    if not parts:
        return None
    return sum(v for k, v in parts.items() if k not in ("of which index", "nblocks")) / d["load"]["acked"]


def above_idle_kib(d):
    return (d["rss_after_mb"] - d["rss_idle_mb"]) * 1024 / d["load"]["series"]


def question(d, name, key, scale=1):
    return next((q[key] * scale for q in d["queries"] if q["name"] == name and q["status"] == 200), None)


def number(x):
    return "-" if x is None else f"{x:.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.2f}" if abs(x) >= 0.1 else f"{x:.3f}"


def spread(xs):
    """median (smallest-largest)"""
    xs = [x for x in xs if x is not None]
    if not xs:
        return "-"
    return number(statistics.median(xs)) + (f" ({number(min(xs))}-{number(max(xs))})" if len(xs) > 1 else "")


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(r) + " |" for r in rows]) + "\n"


def same_answer(a, b):
    if a["sha"] == b["sha"]:
        return "same"
    if (a["rows"], a.get("points")) != (b["rows"], b.get("points")):
        return "other shape"
    off = abs(a["sum"] / b["sum"] - 1) if b.get("sum") else 1
    return "same but for rounding" if off < 1e-9 else f"differs, sum by {off * 100:.2g} %"


def figures(runs, stores):
    rows = []
    for part, name, unit, of, aim in AIMS + [m + (None,) for m in MORE]:
        values = {s: [of(d) for d in runs.get((part, s), [])] for s in stores}
        if not any(values.values()):
            continue
        mine = [v for v in values.get("galen", []) if v is not None]
        kept = "" if aim is None else f"at most {number(aim)}"
        met = "" if aim is None or not mine else "yes" if statistics.median(mine) <= aim else "**no**"
        rows.append([name + (f", {unit}" if unit else "")] + [spread(values[s]) for s in stores] + [kept, met])
    return table(["figure"] + [NAMES[s] for s in stores] + ["aim", "met"], rows)


def questions(runs, stores):
    some = next((d for s in stores for d in runs.get(("main", s), [])), None)
    rows = []
    for i, q in enumerate(some["queries"] if some else []):
        asked = {s: [d["queries"][i] for d in runs.get(("main", s), []) if d["queries"][i]["status"] == 200] for s in stores}
        cpu = {s: statistics.median(x["cpu_ms"] for x in asked[s]) for s in stores if asked[s]}
        row = [q["name"]]
        for s in stores:
            row.append(f"{number(cpu[s])} ({number(statistics.median(x['p50_ms'] for x in asked[s]))})" if s in cpu else "failed")
        peers = [cpu[s] for s in cpu if s != "galen"]
        if "galen" in cpu and peers:
            ratio = cpu["galen"] / min(peers)
            reference = next(asked[s][0] for s in stores if s != "galen" and asked[s])
            row += [f"{ratio:.2f}", "yes" if ratio <= QUERY_AIM else "**no**", same_answer(asked["galen"][0], reference)]
        rows.append(row)
    if not rows:
        return ""
    head = ["question"] + [NAMES[s] + ": CPU ms (median wall ms)" for s in stores]
    if len(rows[0]) > len(head):
        head += ["galen / better peer", f"at most {QUERY_AIM}", "answer against " + NAMES[stores[0]]]
    return table(head, rows)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown processor")
    memory = int(open("/proc/meminfo").readline().split()[1]) / 1048576
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {os.uname().release}"


def report(records, command):
    """records: one dict a run, with "part" beside what runs.py returned."""
    runs = {}
    for d in records:
        runs.setdefault((d["part"], d["store"]), []).append(d)
    stores = [s for s in NAMES if any(k[1] == s for k in runs)]
    versions = {s: next(d["version"] for d in records if d["store"] == s) for s in stores}
    busy = [d[k] for d in records for k in ("foreign_cores_ingest", "foreign_cores") if d.get(k) is not None]
    out = ["# The store, measured\n",
           f"`{command}`, {time.strftime('%Y-%m-%d', time.gmtime())}, on {machine()}. " +
           "Runs of the stores alternate; each figure: median (smallest-largest) of " +
           " / ".join(f"{len(v)}" for v in sorted({len(v): v for v in runs.values()}.values(), key=len)) + " runs.\n",
           table(["store", "version"], [[NAMES[s], versions[s]] for s in stores])]
    if busy:
        out.append(f"Other programs used {number(statistics.median(busy))} (at most {number(max(busy))}) cores meanwhile.\n")
    out += ["## Figures\n", figures(runs, stores), "## Questions\n", questions(runs, stores),
            "galen answers as Prometheus 3 does: a range is open at its left, so rates differ a little from 2.42's.\n"]
    return "\n".join(out)


def load(path):
    with open(path) as f:
        return [json.loads(line) for line in f if line.strip()]

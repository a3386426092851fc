"""bench/store/questions.py - the sixteen questions of the benchmark, how they are asked and timed.

`nocache=1` switches VictoriaMetrics' result cache off; the others ignore it.
"""
import hashlib
import http.client
import json
import math
import statistics
import time
import urllib.parse

from stores import cpu_s, log


NODE0 = "10.0.0.1:8000"
TTFT = "vllm:time_to_first_token_seconds_bucket"


def queries(short, long):
    """(name, kind, query, span in s, step in s); span 0 is an instant query."""
    return [
        ("one series, 1h", "range", f'vllm:num_requests_running{{instance="{NODE0}"}}', short, 15),
        ("sum by(model) rate, 6h", "range",
         "sum by (model_name) (rate(vllm:generation_tokens_total[5m]))", long, 60),
        ("p99 TTFT by model, 1h", "range",
         f"histogram_quantile(0.99, sum by (le, model_name) (rate({TTFT}[5m])))", short, 15),
        ("p99 TTFT by model, 6h", "range",
         f"histogram_quantile(0.99, sum by (le, model_name) (rate({TTFT}[5m])))", long, 60),
        ("topk rate, instant", "query", "topk(5, rate(vllm:prompt_tokens_total[5m]))", 0, 0),
        ("regex match cpu, 1h", "range",
         'sum by (instance) (rate(node_cpu_seconds_total{mode=~"user|system",cpu=~"[0-3]"}[5m]))', short, 60),
        ("on/group_left, 1h", "range",
         "sum by (model_name) (DCGM_FI_DEV_POWER_USAGE * on (node) group_left (model_name) "
         "vllm:cache_config_info)", short, 60),
        ("ratio of sums, 6h", "range",
         "sum by (model_name) (rate(vllm:prefix_cache_hits_total[5m])) / "
         "sum by (model_name) (rate(vllm:prefix_cache_queries_total[5m]))", long, 60),
        ("avg_over_time 10m, 6h", "range",
         "avg by (gpu) (avg_over_time(DCGM_FI_DEV_GPU_UTIL[10m]))", long, 60),
        ("subquery, instant", "query",
         "max_over_time(sum(rate(vllm:generation_tokens_total[2m]))[1h:1m])", 0, 0),
        ("absent, 1h", "range", 'absent(vllm:num_requests_running{job="nope"})', short, 60),
        ("quantile_over_time, instant", "query",
         "quantile_over_time(0.95, vllm:kv_cache_usage_perc[1h])", 0, 0),
        ("alert ratio, instant", "query",
         'sum(rate(vllm:request_success_total{finished_reason="length"}[5m])) / '
         "sum(rate(vllm:request_success_total[5m])) > 0.01", 0, 0),
        ("count all series, instant", "query", 'count({__name__!=""})', 0, 0),
        ("label values: instance", "values", "instance", short, 0),
        ("series of one metric", "series", TTFT, short, 0),
    ]


def growth_queries():
    """Three minutes of data, so that the cost grows only with the number of series."""
    return [
        ("one series, 3m", "range", f'vllm:num_requests_running{{instance="{NODE0}"}}', 180, 15),
        ("sum by(model) rate, 3m", "range",
         "sum by (model_name) (rate(vllm:generation_tokens_total[2m]))", 180, 15),
        ("p99 TTFT, instant", "query",
         f"histogram_quantile(0.99, sum by (le, model_name) (rate({TTFT}[2m])))", 0, 0),
        ("topk rate, instant", "query", "topk(5, rate(vllm:prompt_tokens_total[2m]))", 0, 0),
        ("regex match cpu, instant", "query",
         'sum by (mode) (rate(node_cpu_seconds_total{mode=~"user|system",cpu=~"[0-3]"}[2m]))', 0, 0),
        ("count all series, instant", "query", 'count({__name__!=""})', 0, 0),
        ("label values: instance", "values", "instance", 180, 0),
        ("series of one node", "series", f'{{instance="{NODE0}"}}', 180, 0),
    ]


def query_path(q, end, nocache):
    _, kind, text, span, step = q
    a = {"range": {"query": text, "start": end - span, "end": end, "step": step},
         "query": {"query": text, "time": end},
         "values": {"start": end - span, "end": end},
         "series": {"match[]": text, "start": end - span, "end": end}}[kind]
    if nocache:
        a["nocache"] = 1
    path = {"range": "query_range", "query": "query", "values": f"label/{text}/values", "series": "series"}[kind]
    return f"/api/v1/{path}?" + urllib.parse.urlencode(a)


def digest(body, start):
    """What the answer holds, independent of order: rows, points, sum of values, checksum."""
    d = json.loads(body)["data"]
    rows, points, total, lines = 0, 0, 0.0, []

    def value(t, v):
        nonlocal points, total
        x = float(v)
        points += 1
        if math.isfinite(x):
            total += x
        return f"{t - start:.3f}:{x:.6g}"

    if isinstance(d, list):
        rows = len(d)
        lines = [json.dumps(x, sort_keys=True) for x in d]
    elif d["resultType"] in ("matrix", "vector"):
        for s in d["result"]:
            rows += 1
            vs = s["values"] if "values" in s else [s["value"]]
            lines.append(json.dumps(s["metric"], sort_keys=True) + " ".join(value(t, v) for t, v in vs))
    else:
        rows = 1
        lines = [value(*d["result"])]
    h = hashlib.sha1("\n".join(sorted(lines)).encode()).hexdigest()[:8]
    return {"rows": rows, "points": points, "sum": total, "sha": h}


def run_queries(store, qs, start, end, nocache, min_reps, budget):
    """Every query: 3 warm-up runs, then at least min_reps timed ones over one kept connection."""
    out = []
    conn = http.client.HTTPConnection("127.0.0.1", store.port, timeout=300)
    for q in qs:
        path = query_path(q, end, nocache)

        def once():
            conn.request("GET", path)
            r = conn.getresponse()
            return r.status, r.read()

        t = time.perf_counter()
        st, body = once()
        cold = time.perf_counter() - t
        rec = {"name": q[0], "status": st, "cold_ms": cold * 1e3, "bytes": len(body)}
        if st != 200:
            rec["error"] = body[:200].decode("utf-8", "replace")
            out.append(rec)
            log("   query failed:", q[0], rec["error"])
            continue
        rec.update(digest(body, start))
        warm = 3 if cold < 1 else 1
        for _ in range(warm):
            once()
        lat, c0, t0 = [], cpu_s(store.pid), time.perf_counter()
        while len(lat) < min_reps or (time.perf_counter() - t0 < 0.5 and len(lat) < 200):
            t = time.perf_counter()
            once()
            lat.append(time.perf_counter() - t)
            if time.perf_counter() - t0 > budget and len(lat) >= 3:
                break
        rec["n"] = len(lat)
        rec["cpu_ms"] = (cpu_s(store.pid) - c0) / len(lat) * 1e3
        lat.sort()
        rec["p50_ms"] = statistics.median(lat) * 1e3
        rec["p99_ms"] = lat[math.ceil(0.99 * len(lat)) - 1] * 1e3
        out.append(rec)
    conn.close()
    return out


def number(store, expr, t):
    """One number from an instant query, or 0."""
    st, body = store.get(f"/api/v1/query?" + urllib.parse.urlencode({"query": expr, "time": t, "nocache": 1}))
    if st != 200:
        log("   count failed:", body[:300])
        return None
    r = json.loads(body)["data"]["result"]
    return float(r[0]["value"][1]) if r else 0.0


def samples_present(store, end, span):
    """All samples in the store.  One metric at a time, to stay under any query limit."""
    st, body = store.get("/api/v1/label/__name__/values?" + urllib.parse.urlencode({"start": end - span, "end": end}))
    names = json.loads(body)["data"]
    total = 0
    for n in names:
        x = number(store, f'sum(count_over_time({{__name__="{n}"}}[{span}s]))', end)
        if x is None:
            return None
        total += int(x)
    return total



"""bench/store/runs.py - one run of one store: load, memory, disk, questions, crash, restart, scrape.

Every run starts from an empty folder on a fresh loopback port and ends only the processes it started. Values depend
only on the seed, so every store gets the same samples.
"""
import http.client
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

from questions import growth_queries, number, queries, run_queries, samples_present
from stores import Sampler, cpu_s, free_port, fresh, log, machine_cpu_s, rss_mb, settle, version, wait_quiet

NODE_SERIES = 380    # what one simulated node has: 120 of the engine, 60 of four GPUs, 200 of the host


def load_args(a, url, **more):
    opt = {"url": url, "series": a.series, "interval": a.interval, "duration": a.duration, "conns": a.conns,
           "batch": a.batch, "pack": a.pack, "seed": a.seed, "start-ms": a.start * 1000, "max-wall": a.max_wall,
           "rate": a.rate}
    opt.update(more)
    c = [a.loadgen, "write"]
    for k, v in opt.items():
        c += [f"--{k}", str(v)]
    return c


def one_run(a, small):
    s = fresh(a.store, a.work)
    res = {"test": "growth" if small else "run", "store": a.store, "version": version(a.store),
           "args": {k: getattr(a, k) for k in ("series", "interval", "duration", "conns", "batch", "pack", "seed", "rate")},
           "when": int(time.time())}
    try:
        res["start_s"] = s.start()
        time.sleep(1)
        res["rss_idle_mb"] = rss_mb(s.pid)[0]
        res["foreign_cores_before"] = wait_quiet()
        c0, w, m0, st0 = cpu_s(s.pid), Sampler(s.pid), machine_cpu_s(), machine_cpu_s(True)
        r = subprocess.run(load_args(a, s.write_url), capture_output=True, text=True, timeout=a.max_wall + 60)
        sys.stderr.write(r.stderr)
        load = json.loads(r.stdout)
        c1, m1 = cpu_s(s.pid), machine_cpu_s()
        res["steal_cores_ingest"] = (machine_cpu_s(True) - st0) / load["wall_s"]
        res["foreign_cores_ingest"] = (m1 - m0 - (c1 - c0) - load["loadgen_cpu_s"]) / load["wall_s"]
        res["settle_s"] = settle(s.pid)
        c2 = cpu_s(s.pid)
        w.stop()
        rss, anon, hwm = rss_mb(s.pid)
        M = load["acked"] / 1e6
        res["load"] = load
        n = load["series"]
        res.update(cpu_s_per_msample=(c2 - c0) / M, cpu_s_per_msample_busy=(c1 - c0) / M,
                   rss_peak_mb=hwm, rss_after_mb=rss, anon_peak_mb=w.anon, anon_after_mb=anon,
                   bytes_per_series=(rss - res["rss_idle_mb"]) * 1048576 / n,
                   bytes_per_series_peak=(hwm - res["rss_idle_mb"]) * 1048576 / n,
                   server_cores=(c1 - c0) / load["wall_s"])
        log(f"   {a.store}: {load['samples_per_s']:.0f} samples/s, {res['cpu_s_per_msample']:.2f} CPU-s/M, "
            f"peak {hwm:.0f} MiB, after {rss:.0f} MiB, errors {load['http_errors']}, settle {res['settle_s']:.0f}s, "
            f"others {res['foreign_cores_ingest']:.2f} cores, stolen {res['steal_cores_ingest']:.2f}")
        res["disk_before"] = s.parts()
        end = a.start + int(a.duration - a.interval)
        c3, m3, p3, t3 = cpu_s(s.pid), machine_cpu_s(), time.process_time(), time.monotonic()
        if small:
            res["queries"] = run_queries(s, growth_queries(), a.start, end, True, a.reps, a.query_budget)
        else:
            lo = int(min(21600, a.duration) - 600)
            qs = queries(min(3600, lo), lo)
            res["queries"] = run_queries(s, qs, a.start, end, True, a.reps, a.query_budget)
            res["queries_cached"] = run_queries(s, qs, a.start, end, False, a.reps, a.query_budget)
        res["foreign_cores_queries"] = ((machine_cpu_s() - m3) - (cpu_s(s.pid) - c3) -
                                        (time.process_time() - p3)) / (time.monotonic() - t3)
        res["rss_after_queries_mb"] = rss_mb(s.pid)[0]
        res["rss_peak_all_mb"] = rss_mb(s.pid)[2]
        span = int(a.duration + 60)
        if not small:
            res["present"] = samples_present(s, end, span)
        t, c = time.monotonic(), cpu_s(s.pid)
        res["disk_flushed"] = s.flush()
        res["flush_s"], res["flush_cpu_s"] = time.monotonic() - t, cpu_s(s.pid) - c
        res["stop_s"] = s.stop()
        res["disk_stopped"] = s.parts()
        res["restart_s"] = s.start()
        res["series_after_restart"] = number(s, 'count({__name__!=""})', end)
        res["rss_restart_mb"] = rss_mb(s.pid)[0]
    finally:
        s.stop()
        shutil.rmtree(s.root, ignore_errors=True)
    return res


def crash_run(a):
    s = fresh(a.store, a.work)
    res = {"test": "crash", "store": a.store, "version": version(a.store), "when": int(time.time()),
           "args": {k: getattr(a, k) for k in ("series", "interval", "duration", "conns", "batch", "rate", "kill_after")}}
    lg = None
    try:
        s.start()
        res["foreign_cores_before"] = wait_quiet()
        lg = subprocess.Popen(load_args(a, s.write_url, **{"stop-on-error": 1}), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        time.sleep(a.kill_after)
        done = lg.poll() is not None
        s.stop(signal.SIGKILL)
        out, _ = lg.communicate(timeout=120)
        load = json.loads(out)
        if done:
            log("   the load had ended before the kill: this run says nothing")
        res["load"] = load
        res["load_ended_early"] = done
        res["restart_s"] = s.start()
        end = a.start + int(a.duration)
        time.sleep(2)
        have = samples_present(s, end, int(a.duration + 60))
        res["present"] = have
        res["missing"] = load["acked"] - have if have is not None else None
        res["missing_wall_s"] = res["missing"] / load["samples_per_s"] if have is not None else None
        log(f"   {a.store}: acked {load['acked']}, present {have}, missing {res['missing']} "
            f"(+ up to {load['unknown']} in flight), restart {res['restart_s']:.2f}s")
    finally:
        if lg:
            lg.kill()
        s.stop()
        shutil.rmtree(s.root, ignore_errors=True)
    return res


def scrape_run(a):
    s = fresh(a.store, a.work)
    port = free_port()
    nodes = math.ceil(a.series / NODE_SERIES)
    s.scrape_file = os.path.join(s.root, "scrape.yml")
    with open(s.scrape_file, "w") as f:
        f.write(f"global:\n  scrape_interval: {a.scrape_interval}s\n  scrape_timeout: {a.scrape_interval}s\n"
                "scrape_configs:\n- job_name: fleet\n  static_configs:\n")
        for i in range(nodes):
            f.write(f"  - targets: ['127.0.0.1:{port}']\n"
                    f"    labels: {{__metrics_path__: /node/{i}/metrics, instance: 'node-{i}'}}\n")
    res = {"test": "scrape", "store": a.store, "version": version(a.store), "when": int(time.time()),
           "args": {"series": nodes * NODE_SERIES, "targets": nodes, "interval": a.scrape_interval, "seconds": a.seconds}}
    tgt = subprocess.Popen([a.loadgen, "target", "--listen", f"127.0.0.1:{port}", "--series", str(a.series),
                            "--interval", str(a.scrape_interval), "--max-wall", str(a.seconds + 120)])

    def stats():
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        c.request("GET", "/stats")
        d = json.loads(c.getresponse().read())
        c.close()
        return d
    try:
        time.sleep(0.3)
        s.start()
        time.sleep(10)                       # every target seen at least once, series created
        w, m0 = Sampler(s.pid), machine_cpu_s()
        a0, c0, g0, t0 = stats(), cpu_s(s.pid), cpu_s(tgt.pid), time.monotonic()
        time.sleep(a.seconds)
        a1, c1, g1, t1 = stats(), cpu_s(s.pid), cpu_s(tgt.pid), time.monotonic()
        res["foreign_cores"] = (machine_cpu_s() - m0 - (c1 - c0) - (g1 - g0)) / (t1 - t0)
        w.stop()
        n = a1["samples"] - a0["samples"]
        if n == 0:
            raise SystemExit(f"{a.store} scraped nothing")
        time.sleep(2)
        up = number(s, "sum(up)", int(time.time()) - 1)
        res.update(samples_per_s=n / (t1 - t0), offered=nodes * NODE_SERIES / a.scrape_interval,
                   cpu_s_per_msample=(c1 - c0) / (n / 1e6), cores=(c1 - c0) / (t1 - t0), rss_peak_mb=w.rss,
                   target_cores=(g1 - g0) / (t1 - t0), up=up, bytes_per_sample=(a1["bytes"] - a0["bytes"]) / max(n, 1))
        log(f"   {a.store}: {nodes} targets, {res['samples_per_s']:.0f} of {res['offered']:.0f} samples/s, "
            f"{res['cpu_s_per_msample']:.2f} CPU-s/M, {res['cores']:.3f} cores, RSS {w.rss:.0f} MiB, up {up}, "
            f"other programs {res['foreign_cores']:.2f} cores")
    finally:
        s.stop()
        tgt.terminate()
        tgt.wait()
        shutil.rmtree(s.root, ignore_errors=True)
    return res



#!/usr/bin/env python3
"""tests/clients.py --galen BINARY - real clients read from galen: a Prometheus above federates and reads remotely, promtool asks.

Needs Debian's package prometheus; without it: exit status 77 (skipped). Ends with "N passed, N failed"."""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

WAIT_S = 30
passed, failed = 0, 0


def check(sentence, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'ok   ' if ok else 'FAIL '} {sentence}{'' if ok else ': ' + str(detail)[:600]}", flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError as e:
        return 0, str(e)


def query(port, expr):
    status, text = ask(port, "/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
    return json.loads(text)["data"]["result"] if status == 200 else []


def until(find):
    end = time.time() + WAIT_S
    while time.time() < end:
        found = find()
        if found:
            return found
        time.sleep(0.2)
    return None


def start(work, name, command):
    log = open(f"{work}/{name}.log", "wb")
    return subprocess.Popen(command, stdout=log, stderr=log)


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def from_above(above):
    check("Prometheus finds /federate up", until(lambda: [r for r in query(above, 'up{job="fed"}') if r["value"][1] == "1"]))
    found = until(lambda: query(above, 'query_queries_total{job="self"}'))
    check("a federated series carries its own job and the external label", found and found[0]["metric"].get("site") == "here", found)
    only_below = 'scrape_samples_scraped{job="self"}'
    found = until(lambda: query(above, only_below))
    check("remote read brings what was not federated", found and found[0]["metric"].get("site") == "here", found)
    found = until(lambda: [r for r in query(above, f"count_over_time({only_below}[1m])") if float(r["value"][1]) >= 3])
    check("remote read brings ranges, as a stream of chunks", found, query(above, only_below + "[1m]"))


def promtool(below):
    done = subprocess.run(["promtool", "query", "instant", f"http://127.0.0.1:{below}", 'up{job="self"}'], capture_output=True, text=True, timeout=30)
    check("promtool query instant", "=> 1 @" in done.stdout, done.stdout + done.stderr)
    done = subprocess.run(["promtool", "query", "labels", f"http://127.0.0.1:{below}", "job"], capture_output=True, text=True, timeout=30)
    check("promtool query labels", "self" in done.stdout.split(), done.stdout + done.stderr)


def change(below, data):
    selector = urllib.parse.quote('up{job="self"}')
    status, _ = ask(below, f"/api/v1/admin/tsdb/delete_series?match[]={selector}&end={time.time() - 1}", "POST")
    check("delete_series answers 204", status == 204, status)
    left = query(below, 'count_over_time(up{job="self"}[1h])')
    check("what was deleted does not show", not left or float(left[0]["value"][1]) <= 5, left)
    status, text = ask(below, "/api/v1/admin/tsdb/snapshot", "POST")
    name = json.loads(text).get("data", {}).get("name", "") if status == 200 else ""
    check("a snapshot is made where it says", name and os.path.isdir(f"{data}/snapshots/{name}"), text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galen", required=True, type=os.path.abspath)
    galen = parser.parse_args().galen
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        print("skipped: Debian's package prometheus is not installed")
        return 77
    below, above = free_port(), free_port()
    work = tempfile.mkdtemp(prefix="galen-clients-")
    config = write(f"{work}/below.yml", f"""
global: {{scrape_interval: 1s, external_labels: {{site: here}}}}
scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{below}']}}]}}]
""")
    upper = write(f"{work}/above.yml", f"""
global: {{scrape_interval: 1s}}
scrape_configs:
- {{job_name: fed, honor_labels: true, metrics_path: /federate, params: {{'match[]': ['query_queries_total']}}, static_configs: [{{targets: ['127.0.0.1:{below}']}}]}}
remote_read: [{{url: 'http://127.0.0.1:{below}/api/v1/read', read_recent: true}}]
""")
    running = []
    try:
        running.append(start(work, "galen", [galen, "serve", "--data", f"{work}/data", "--listen", f"127.0.0.1:{below}", "--prometheus.config", config]))
        running.append(start(work, "prometheus", ["prometheus", f"--config.file={upper}", f"--storage.tsdb.path={work}/above", f"--web.listen-address=127.0.0.1:{above}"]))
        check("galen is ready", until(lambda: ask(below, "/-/ready")[0] == 200), open(f"{work}/galen.log").read())
        until(lambda: query(below, 'up{job="self"}'))
        promtool(below)
        from_above(above)
        change(below, f"{work}/data")
        check("galen still runs", running[0].poll() is None, open(f"{work}/galen.log").read()[-600:])
    finally:
        for p in running:
            p.send_signal(signal.SIGTERM)
        for p in running:
            p.wait(timeout=30)
        shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

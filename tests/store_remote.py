#!/usr/bin/env python3
"""galen over somebody else's store (store.remote): the whole loop on VictoriaMetrics and on Prometheus.

    tests/store_remote.py build/galen [--peer victoria-metrics|prometheus] [--keep]

An engine (a page of llama.cpp's metrics) is scraped, samples are pushed in, all of it goes to the remote store. Then:
questions of every kind are answered by push-down, canonical series are there for real, an alert rule fires and a
recording rule's series comes back, the page has the host's vitals and the replica's numbers. The remote is taken away:
questions fail with a sentence, the alert keeps its state, the overview says so; it comes back: all is well again and no
sample is missing. A peer that is not installed is skipped with a reason. Prints a row a check and ends with
"N passed, N failed"; exit code 0 when none failed. Python's standard library only.
"""
import argparse
import http.client
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from promapi import free_port, series, snappy

START_TIMEOUT_S = 30
WAIT_S = 40


def ask(port, path, method="GET", body=None, headers=None, timeout=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


class Server:
    def __init__(self, argv, port, ready, log):
        self.argv, self.port, self.ready, self.log, self.process = argv, port, ready, log, None

    def start(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if ask(self.port, self.ready, timeout=2)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.argv[0]} did not become ready")

    def end(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)


class Engine(http.server.BaseHTTPRequestHandler):
    """A llama.cpp server's page; each look is some progress."""
    tokens = 0

    def do_GET(self):
        Engine.tokens += 10
        page = ("# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 3\n"
                "# TYPE llamacpp:requests_deferred gauge\nllamacpp:requests_deferred 1\n"
                f"# TYPE llamacpp:tokens_predicted_total counter\nllamacpp:tokens_predicted_total {Engine.tokens}\n"
                f"# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total {Engine.tokens}\n"
                f"# TYPE llamacpp:n_decode_total counter\nllamacpp:n_decode_total {Engine.tokens}\n")
        body = (page if self.path == "/metrics" else '{"status":"ok"}').encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


CONFIG = """
watch:
  host: {{interval: 1s}}
  discovery: off
  replicas:
  - {{name: a, url: 'http://127.0.0.1:{engine}', job: chat, engine: llama.cpp, scrape_interval: 1s}}
alert:
  rule_files: [rules.yml]
store:
  remote:
    write_url: http://127.0.0.1:{peer}/api/v1/write
    read_url: http://127.0.0.1:{peer}/
    timeout: 5s
    queue_config: {{batch_send_deadline: 200ms, max_backoff: 1s}}
"""
RULES = """
groups:
- name: g
  interval: 1s
  rules:
  - {record: 'running:sum', expr: 'sum(llm_requests_running)'}
  - {alert: Busy, expr: 'llm_requests_running > 2', for: 2s}
"""


class Run:
    def __init__(self, name, binary, folder):
        self.folder, self.port, self.peer_port, self.engine_port = folder, free_port(), free_port(), free_port()
        self.log = open(os.path.join(folder, "log"), "ab")
        self.passed, self.failed = 0, 0
        self.pushed = []
        with open(os.path.join(folder, "galen.yml"), "w", encoding="utf-8") as out:
            out.write(CONFIG.format(engine=self.engine_port, peer=self.peer_port))
        with open(os.path.join(folder, "rules.yml"), "w", encoding="utf-8") as out:
            out.write(RULES)
        self.galen = Server([binary, "serve", "--config", os.path.join(folder, "galen.yml"), "--data", os.path.join(folder, "data"),
                             "--listen", f"127.0.0.1:{self.port}"], self.port, "/-/ready", self.log)
        self.peer = self.make_peer(name)

    def make_peer(self, name):
        address, data = f"127.0.0.1:{self.peer_port}", os.path.join(self.folder, "peer")
        if name == "victoria-metrics":
            return Server(["victoria-metrics", f"-storageDataPath={data}", f"-httpListenAddr={address}", "-loggerLevel=ERROR"],
                          self.peer_port, "/health", self.log)
        config = os.path.join(self.folder, "peer.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("global: {scrape_interval: 1m}\n")
        return Server(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}",
                       "--web.enable-remote-write-receiver", "--log.level=error"], self.peer_port, "/-/ready", self.log)

    def check(self, what, fine, seen=""):
        self.passed, self.failed = self.passed + bool(fine), self.failed + (not fine)
        print(f"  {'PASS' if fine else 'FAIL'} {what}" + ("" if fine else f" -- {str(seen)[:300]}"), flush=True)

    def eventually(self, what, look, wanted):
        """`look` until `wanted` holds of what it gives."""
        end, seen = time.monotonic() + WAIT_S, None
        while time.monotonic() < end:
            try:
                seen = look()
                if wanted(seen):
                    self.check(what, True)
                    return
            except (OSError, http.client.HTTPException, KeyError, IndexError, ValueError) as why:
                seen = why
            time.sleep(0.25)
        self.check(what, False, seen)

    def get(self, path, **params):
        status, text = ask(self.port, path + ("?" + urllib.parse.urlencode(params, doseq=True) if params else ""))
        return status, json.loads(text)

    def values(self, query, **more):
        return [row["value"][1] for row in self.get("/api/v1/query", query=query, **more)[1]["data"]["result"]]

    def push(self, t_ms, value):
        body = snappy(series({"__name__": "pushed", "job": "p", "instance": "i"}, [(t_ms, value)]))
        status, _ = ask(self.port, "/api/v1/write", "POST", body, {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"})
        if status // 100 == 2:
            self.pushed.append((t_ms, value))
        return status

    def alert(self):
        return [a["state"] for a in self.get("/api/v1/alerts")[1]["data"]["alerts"]]

    def overview(self):
        return self.get("/api/galen/v1/overview")[1]

    def answers(self):
        now = int(time.time())
        self.check("what is pushed is accepted", self.push(now * 1000 - 20000, 1.5) // 100 == 2)
        self.eventually("an instant query is answered", lambda: self.values("pushed * 2", time=now - 20), lambda v: v == ["3"])
        self.eventually("canonical series are there for real",
                        lambda: ask(self.peer_port, "/api/v1/query?nocache=1&query=llm_requests_running")[1], lambda t: '"3"' in t and "llama.cpp" in t)
        self.eventually("rate of a canonical counter", lambda: self.values("rate(llm_generation_tokens_total[20s]) > 0"), lambda v: len(v) == 1)
        self.eventually("a range query", lambda: self.get("/api/v1/query_range", query="sum(llm_requests_running)", start=now - 5, end=now + 5, step=1)[1]["data"]["result"],
                        lambda r: r and r[0]["values"][-1][1] == "3")
        self.eventually("series", lambda: self.get("/api/v1/series", **{"match[]": 'pushed{job=~"p|q"}'})[1]["data"],
                        lambda d: d == [{"__name__": "pushed", "job": "p", "instance": "i"}])
        self.eventually("label values", lambda: self.get("/api/v1/label/job/values")[1]["data"], lambda d: "p" in d and "chat" in d)
        self.eventually("label names", lambda: self.get("/api/v1/labels")[1]["data"], lambda d: "instance" in d)
        status, body = self.get("/api/v1/query", query="sum(")
        self.check("mistakes get our own sentence", status == 400 and "parse error" in body["error"], body)
        self.eventually("a recording rule comes back", lambda: self.values("running:sum"), lambda v: v == ["3"])
        self.eventually("an alert fires", self.alert, lambda s: s == ["firing"])
        self.eventually("the page has the host's vitals", lambda: self.overview()["host"], lambda h: any(isinstance(v, (int, float)) and v for v in h.values()))
        self.eventually("the page has the replica's numbers", lambda: json.dumps(self.overview()["replicas"]), lambda t: '"running": 3' in t or '"running":3' in t)
        self.check("the overview says the remote is there", self.overview()["store_remote"]["up"] is True, self.overview().get("store_remote"))

    def without(self):
        self.peer.end()
        self.eventually("without the remote a query says so", lambda: self.get("/api/v1/query", query="up"),
                        lambda a: a[0] == 503 and "remote store" in a[1]["error"])
        start = time.monotonic()
        self.get("/api/v1/query", query="up")
        self.check("and at once", time.monotonic() - start < 1, time.monotonic() - start)
        self.eventually("the overview says it is away", lambda: self.overview()["store_remote"], lambda s: s["up"] is False and s["error"])
        time.sleep(3)
        self.check("the alert keeps its state", self.alert() == ["firing"], self.alert())
        for i in range(20):
            self.push(int(time.time()) * 1000 - 15000 + i * 100, float(i))
        self.check("what is pushed is accepted meanwhile", len(self.pushed) == 21, len(self.pushed))
        self.check("health answers", ask(self.port, "/-/healthy")[0] == 200)

    def back(self):
        self.peer.start()
        self.eventually("with the remote back, questions are answered", lambda: self.values("count(up) >= 0 or vector(1)"), lambda v: len(v) == 1)
        self.eventually("the overview says it is back", lambda: self.overview()["store_remote"]["up"], lambda up: up is True)
        want = [[t / 1000, str(int(v)) if v == int(v) else str(v)] for t, v in self.pushed]
        self.eventually("no sample is missing", lambda: [[t, v] for t, v in self.get("/api/v1/query", query="pushed[10m]")[1]["data"]["result"][0]["values"]],
                        lambda got: got == want)
        self.eventually("rules are evaluated again", lambda: [g["rules"][0]["health"] for g in self.get("/api/v1/rules")[1]["data"]["groups"]], lambda h: h == ["ok"])

    def all(self):
        engine = http.server.ThreadingHTTPServer(("127.0.0.1", self.engine_port), Engine)
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        try:
            self.peer.start()
            self.galen.start()
            self.answers()
            self.without()
            self.back()
            self.check("galen still runs", self.galen.process.poll() is None)
        except (RuntimeError, OSError) as why:
            self.check(str(why), False)
        finally:
            self.galen.end()
            self.peer.end()
            engine.shutdown()
            self.log.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("galen")
    parser.add_argument("--peer", action="append", help="only this one")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    args = parser.parse_args()
    passed = failed = 0
    for name in args.peer or ["victoria-metrics", "prometheus"]:
        if not shutil.which(name):
            print(f"SKIP {name}: it is not installed")
            continue
        print(name)
        folder = tempfile.mkdtemp(prefix="galen-over-")
        run = Run(name, os.path.abspath(args.galen), folder)
        run.all()
        passed, failed = passed + run.passed, failed + run.failed
        if args.keep or run.failed:
            print(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

#!/usr/bin/env python3
"""Send what galen stores to other stores, and look whether every sample that was acknowledged arrives.

    tests/remote_write.py build/galen [--down 5] [--peer NAME …] [--keep]

Peers: victoria-metrics, prometheus (both skipped with a reason where they are not installed), galen-1 and galen-2
(another galen, by remote write 1.0 and 2.0), old (prometheus, asked with 2.0: galen must fall back to 1.0).
For each: samples are pushed into galen all the time; the peer is taken away for --down seconds, meanwhile galen is
killed with -9 and started again; the peer comes back. Afterwards the peer must hold the very series, times and values
that galen acknowledged. Prints a row a peer and ends with "N passed, N failed"; exit code 0 when none failed.
Python's standard library only.
"""
import argparse
import http.client
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

SERIES = 50
STEP_MS = 1000
START_TIMEOUT_S = 30
CATCH_UP_S = 60


def http_get(port, path, timeout=30, method="GET", body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Process:
    """A server that is started, killed and started again on the same port and folder."""

    def __init__(self, argv, port, ready, log):
        self.argv, self.port, self.ready, self.log = argv, port, ready, log
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.argv[0]} ended with {self.process.returncode}")
            try:
                if http_get(self.port, self.ready, timeout=2)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.argv[0]} is not ready after {START_TIMEOUT_S} s")

    def end(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)


class Writer(threading.Thread):
    """Pushes a sample of every series again and again, the same batch until it is answered with 2xx."""

    def __init__(self, port, next_ms):
        super().__init__(daemon=True)
        self.port, self.next_ms, self.value, self.stop = port, next_ms, 0, False
        self.acknowledged, self.refused = [], []

    def run(self):
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        while not self.stop:
            body = snappy(b"".join(series({"__name__": "sent", "n": str(i), "job": "push", "instance": "a"},
                                          [(self.next_ms, float(self.value * SERIES + i))]) for i in range(SERIES)))
            try:
                status, text = http_get(self.port, "/api/v1/write", 10, "POST", body, headers)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if status // 100 != 2:
                self.refused.append((status, text[:200]))
                if len(self.refused) > 10:
                    return
                continue
            self.acknowledged.append((self.next_ms, self.value))
            self.next_ms += STEP_MS
            self.value += 1
            time.sleep(0.02)


def raw_samples(port, at_s):
    """{n: {t_ms: value}} of all series at the peer."""
    query = urllib.parse.urlencode({"query": 'sent{origin="sut"}[2h]', "time": f"{at_s:.3f}", "nocache": "1"})
    status, text = http_get(port, "/api/v1/query?" + query)
    if status != 200:
        raise RuntimeError(f"the peer answered {status}: {text[:200]}")
    return {row["metric"]["n"]: {round(float(t) * 1000): float(v) for t, v in row["values"]}
            for row in json.loads(text)["data"]["result"]}


def missing(writer, found):
    """What was acknowledged and is not there, or with another value; and what nobody sent."""
    want = {t: v for t, v in writer.acknowledged}
    problems = []
    for i in range(SERIES):
        have = found.get(str(i), {})
        lost = [t for t, v in want.items() if have.get(t) != float(v * SERIES + i)]
        if lost:
            problems.append(f"series {i} lacks {len(lost)} of {len(want)} samples, the first at {lost[0]}")
    if len(found) != SERIES:
        problems.append(f"{len(found)} series instead of {SERIES}")
    return problems


def pending(port):
    """Samples still to be sent, as galen's own metrics say."""
    for line in http_get(port, "/metrics")[1].decode().splitlines():
        if line.startswith("prometheus_remote_storage_samples_pending{"):
            return float(line.split()[-1])
    return None


def peer_of(name, binary, folder, port, log):
    address = f"127.0.0.1:{port}"
    data = os.path.join(folder, "peer")
    if name == "victoria-metrics":
        argv = ["victoria-metrics", f"-storageDataPath={data}", f"-httpListenAddr={address}", "-retentionPeriod=12",
                "-search.latencyOffset=0s", "-loggerLevel=ERROR"]
        return Process(argv, port, "/health", log)
    if name in ("prometheus", "old"):
        config = os.path.join(folder, "peer.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("global: {scrape_interval: 1m}\n")
        argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}",
                "--web.enable-remote-write-receiver", "--log.level=error"]
        return Process(argv, port, "/-/ready", log)
    return Process([binary, "serve", "--data", data, "--listen", address, "--watch=off"], port, "/-/ready", log)


def galen_config(name, folder, peer_port):
    two = name in ("galen-2", "old")
    path = os.path.join(folder, "galen.yml")
    with open(path, "w", encoding="utf-8") as out:
        out.write("global: {external_labels: {origin: sut}}\nremote_write:\n"
                  f"- url: http://127.0.0.1:{peer_port}/api/v1/write\n  name: peer\n"
                  + ("  protobuf_message: io.prometheus.write.v2.Request\n" if two else "") +
                  "  write_relabel_configs: [{source_labels: [__name__], regex: 'sent', action: keep}]\n"
                  "  queue_config: {batch_send_deadline: 200ms, max_backoff: 1s, max_samples_per_send: 500}\n")
    return path


def one_peer(name, binary, down_s, folder):
    """A row's text and the problems found."""
    with open(os.path.join(folder, "log"), "ab") as log:
        port, peer_port = free_port(), free_port()
        peer = peer_of(name, binary, folder, peer_port, log)
        galen = Process([binary, "serve", "--data", os.path.join(folder, "data"), "--listen", f"127.0.0.1:{port}", "--watch=off",
                         "--prometheus.config", galen_config(name, folder, peer_port)], port, "/-/ready", log)
        writer = Writer(port, (int(time.time()) - 3000) * 1000)
        try:
            peer.start()
            galen.start()
            writer.start()
            time.sleep(2)
            # VictoriaMetrics forgets its last seconds on kill -9, also what it had acknowledged to us.
            peer.end(signal.SIGTERM if name == "victoria-metrics" else signal.SIGKILL)
            time.sleep(down_s / 2)
            galen.end()
            galen.start()
            time.sleep(down_s / 2)
            peer.start()
            back = time.monotonic()
            time.sleep(1)
            galen.end()  # and once more while it catches up
            galen.start()
            time.sleep(1)
            writer.stop = True
            writer.join(20)
            while time.monotonic() - back < CATCH_UP_S and pending(port) != 0:
                time.sleep(0.1)
            caught_up = time.monotonic() - back
            time.sleep(1.5)  # victoria-metrics shows what it took within a second
            problems = missing(writer, raw_samples(peer_port, writer.next_ms / 1000 + 1))
        finally:
            writer.stop = True
            galen.end()
            peer.end()
        if writer.refused:
            problems.append(f"galen refused: {writer.refused[0]}")
        return f"{len(writer.acknowledged) * SERIES} samples acknowledged, all sent {caught_up:.1f} s after the peer was back", problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("galen")
    parser.add_argument("--down", type=float, default=5, help="seconds the peer is away")
    parser.add_argument("--peer", action="append", help="only this one")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    args = parser.parse_args()
    passed = failed = 0
    for name in args.peer or ["victoria-metrics", "prometheus", "old", "galen-1", "galen-2"]:
        program = "prometheus" if name == "old" else name
        if not name.startswith("galen") and not shutil.which(program):
            print(f"SKIP {name}: {program} is not installed", flush=True)
            continue
        folder = tempfile.mkdtemp(prefix="galen-remote-")
        try:
            row, problems = one_peer(name, os.path.abspath(args.galen), args.down, folder)
        except (RuntimeError, OSError) as why:
            row, problems = "", [str(why)]
        print(f"{'FAIL' if problems else 'PASS'} {name}: {row}" + "".join("\n     " + p for p in problems[:5]), flush=True)
        passed, failed = passed + (not problems), failed + bool(problems)
        if args.keep or problems:
            print(f"     kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

#!/usr/bin/env python3
"""kill -9 galen under remote write, start it again, and look whether every acknowledged sample is there.

    tests/kill9.py build/galen [--rounds 20] [--seed N] [--data DIR]

Two threads send Prometheus remote write 1.0 (promapi.py) without pause. At a
random moment galen is killed; whatever it had answered with 2xx must be found by /api/v1/query_range after the
restart. A batch whose answer never came may be there or not, but whole or not at all. A third thread asks for
/-/flush now and then, so that galen also dies while it moves samples into blocks and cuts its log. Prints a row a
round and ends with "N passed, N failed"; exit code 0 when none failed. Python's standard library only.
"""
import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from promapi import free_port, series, snappy

SERIES_A_THREAD = 20
STEP_MS = 5000               # a round is hours of samples, so that windows become complete
START_BEFORE_MS = 13 * 24 * 3600 * 1000   # inside the default retention of 15 days
QUERY_POINTS = 5000          # below the server's 11,000 points a series
START_TIMEOUT_S = 30


# ---- galen ----

class Galen:
    def __init__(self, binary, data, port):
        self.port = port
        self.log = open(os.path.join(data, "..", "galen.log"), "ab")
        self.process = subprocess.Popen(
            [binary, "serve", "--data", data, "--listen", f"127.0.0.1:{port}", "--watch=off"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait_ready(self):
        """Seconds until /-/ready; None if it died or took too long."""
        start = time.monotonic()
        while time.monotonic() - start < START_TIMEOUT_S and self.process.poll() is None:
            try:
                if self.get("/-/ready")[0] == 200:
                    return time.monotonic() - start
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)
        return None

    def get(self, path):
        return self.ask("GET", path)

    def ask(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("galen did not stop within 30 s of SIGTERM")
        self.log.close()


# ---- writers ----

class Writer(threading.Thread):
    """Sends batch after batch of all its series at one time; value and time tell each sample apart."""

    def __init__(self, number, port, next_ms, counter):
        super().__init__(daemon=True)
        self.number, self.port, self.next_ms, self.counter = number, port, next_ms, counter
        self.acknowledged = []   # (t_ms, value)
        self.unanswered = None   # the batch that was under way when galen died
        self.refused = []

    def batch(self, t_ms, value):
        return snappy(b"".join(
            series({"__name__": "kill9", "writer": str(self.number), "n": str(i)}, [(t_ms, value)])
            for i in range(SERIES_A_THREAD)))

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        while True:
            t_ms, value = self.next_ms, float(self.counter)
            self.next_ms += STEP_MS
            self.counter += 1
            self.unanswered = (t_ms, value)
            try:
                connection.request("POST", "/api/v1/write", self.batch(t_ms, value), headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                return
            self.unanswered = None
            if 200 <= answer.status < 300:
                self.acknowledged.append((t_ms, value))
            else:
                self.refused.append((answer.status, text[:200]))
                if len(self.refused) > 10:
                    return


class Flusher(threading.Thread):
    """Asks for blocks at random moments until galen is gone."""

    def __init__(self, galen, rng):
        super().__init__(daemon=True)
        self.galen, self.rng, self.done = galen, rng, 0

    def run(self):
        while True:
            time.sleep(self.rng.uniform(0.01, 0.3))
            try:
                status, _ = self.galen.ask("POST", "/-/flush")
            except (OSError, http.client.HTTPException):
                return
            self.done += 200 <= status < 300


# ---- checking ----

def stored(galen, writer, from_ms, to_ms):
    """{n: {t_ms: value}} of one writer's series. Steps fall on the samples' own times, and a window as long as a
    step shows each sample only at its own point."""
    found = {}
    for start in range(from_ms, to_ms + 1, QUERY_POINTS * STEP_MS):
        end = min(to_ms, start + (QUERY_POINTS - 1) * STEP_MS)
        query = urllib.parse.urlencode({
            "query": f'last_over_time(kill9{{writer="{writer}"}}[{STEP_MS - 1}ms])',
            "start": f"{start / 1000:.3f}", "end": f"{end / 1000:.3f}", "step": f"{STEP_MS / 1000:.3f}"})
        status, body = galen.get("/api/v1/query_range?" + query)
        if status != 200:
            raise RuntimeError(f"query_range answered {status}: {body[:300]!r}")
        for series in json.loads(body)["data"]["result"]:
            points = found.setdefault(series["metric"]["n"], {})
            for t, v in series["values"]:
                points[round(float(t) * 1000)] = float(v)
    return found


def check(galen, writer, first_ms, expected, torn):
    """Names of what is wrong, empty if all is well."""
    if not expected and not torn:
        return []
    found = stored(galen, writer, first_ms, max([t for t, _ in expected + torn]))
    wrong = []
    for n in range(SERIES_A_THREAD):
        points = found.get(str(n), {})
        missing = [t for t, v in expected if points.get(t) != v]
        known = {t: v for t, v in expected + torn}
        if missing:
            wrong.append(f"writer {writer} series {n}: {len(missing)} acknowledged samples lost, first at {missing[0]}")
        strange = [t for t, v in points.items() if known.get(t) != v]
        if strange:
            wrong.append(f"writer {writer} series {n}: {len(strange)} samples nobody sent, first at {strange[0]}")
    for t, _ in torn:
        held = sum(t in found.get(str(n), {}) for n in range(SERIES_A_THREAD))
        if held not in (0, SERIES_A_THREAD):
            wrong.append(f"writer {writer}: a batch at {t} is there for {held} of {SERIES_A_THREAD} series")
    return wrong


# ---- rounds ----

def play(binary, data, rounds, rng):
    base_ms = int(time.time()) // 1000 * 1000_000 - START_BEFORE_MS
    port = free_port()
    acknowledged, torn = {0: [], 1: []}, {0: [], 1: []}
    next_ms, counter = {0: base_ms, 1: base_ms}, {0: 0, 1: 0}
    passed = failed = 0
    print(f"{'round':>5}  {'killed after':>12}  {'ready again':>11}  {'acknowledged':>12}  {'in all':>9}  {'flushes':>7}  result")
    galen = Galen(binary, data, port)
    if galen.wait_ready() is None:
        galen.end(signal.SIGKILL)
        raise RuntimeError("galen did not become ready")
    for number in range(1, rounds + 1):
        writers = [Writer(i, port, next_ms[i], counter[i]) for i in (0, 1)]
        flusher = Flusher(galen, random.Random(rng.random()))
        for thread in [*writers, flusher]:
            thread.start()
        wait = rng.uniform(0.05, 1.5)
        time.sleep(wait)
        galen.end(signal.SIGKILL)
        flusher.join()
        for w in writers:
            w.join()
            acknowledged[w.number] += w.acknowledged
            if w.unanswered:
                torn[w.number].append(w.unanswered)
            next_ms[w.number], counter[w.number] = w.next_ms, w.counter
        galen = Galen(binary, data, port)
        ready = galen.wait_ready()
        wrong = ["galen did not become ready again"] if ready is None else []
        for w in writers:
            if w.refused:
                wrong.append(f"writer {w.number}: refused with {w.refused[0]}")
            if ready is not None:
                wrong += check(galen, w.number, base_ms, acknowledged[w.number], torn[w.number])
        passed, failed = passed + (not wrong), failed + bool(wrong)
        now = sum(len(w.acknowledged) for w in writers) * SERIES_A_THREAD
        total = sum(map(len, acknowledged.values())) * SERIES_A_THREAD
        print(f"{number:>5}  {wait:>10.2f} s  {ready or 0:>9.2f} s  {now:>12}  {total:>9}  {flusher.done:>7}  {'ok' if not wrong else 'FAILED'}", flush=True)
        for line in wrong[:5]:
            print("       " + line, flush=True)
        if ready is None:
            break
    galen.end(signal.SIGTERM)
    return passed, failed, sum(map(len, acknowledged.values()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("galen", nargs="?", default="build/galen")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="of the moments of killing")
    parser.add_argument("--data", help="work in this folder and leave it (default: a fresh one, removed when all passed)")
    options = parser.parse_args()
    if not os.access(options.galen, os.X_OK):
        sys.exit(f"cannot run {options.galen}: build it first (make build)")
    folder = options.data or tempfile.mkdtemp(prefix="galen-kill9-")
    data = os.path.join(folder, "data")
    os.makedirs(data, exist_ok=True)
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}, folder {folder}")
    try:
        passed, failed, sent = play(options.galen, data, options.rounds, random.Random(seed))
    except (RuntimeError, OSError) as problem:
        print(f"{problem}; see {folder}/galen.log")
        print("0 passed, 1 failed")
        sys.exit(1)
    if sent == 0:
        failed += 1
        print("nothing was ever acknowledged")
    if not failed and not options.data:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

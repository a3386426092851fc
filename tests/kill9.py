#!/usr/bin/env python3
"""kill -9 galen under remote write, start it again, and look whether every acknowledged sample is there.

    tests/kill9.py build/galen [--rounds 20] [--seed N] [--data DIR]

Two threads send Prometheus remote write 1.0 (promapi.py) without pause. At a
random moment galen is killed; whatever it had answered with 2xx must be found by /api/v1/query_range after the
restart. A batch whose answer never came may be there or not, but whole or not at all. A third thread asks for
/-/flush, snapshots, deletions and cleaning now and then, so that galen also dies in the middle of those. Prints a row a
round and ends with "N passed, N failed"; exit code 0 when none failed. Python's standard library only.
"""
import argparse
import glob
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

from promapi import free_port, histogram, series, snappy

SERIES_A_THREAD = 20
STEP_MS = 5000               # a round is hours of samples, so that windows become complete
START_BEFORE_MS = 13 * 24 * 3600 * 1000   # inside the default retention of 15 days
READ_MS = 24 * 3600 * 1000    # of one query
LATE_MS = 3600 * 1000
START_TIMEOUT_S = 30


# ---- galen ----

class Galen:
    def __init__(self, binary, data, port):
        self.port = port
        self.log = open(os.path.join(data, "..", "galen.log"), "ab")
        config = os.path.join(data, "..", "galen.yml")
        with open(config, "w") as f:
            f.write("store:\n  out_of_order_window: 1h\n")
        self.process = subprocess.Popen(
            [binary, "serve", "--data", data, "--listen", f"127.0.0.1:{port}", "--watch=off", "--config", config],
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
    """Sends batch after batch of all its series at one time; value and time tell each sample apart. Every batch also
    has a native histogram, whose sum is the value, a sample of a series that somebody deletes, and one that comes late."""

    def __init__(self, number, port, next_ms, counter):
        super().__init__(daemon=True)
        self.number, self.port, self.next_ms, self.counter = number, port, next_ms, counter
        self.acknowledged = []   # (t_ms, value)
        self.late = []           # the same of the late ones
        self.unanswered = None   # the batch that was under way when galen died: ((t_ms, value), (t_ms, value))
        self.refused = []

    def batch(self, t_ms, late_ms, value):
        writer = {"writer": str(self.number)}
        rows = [series({"__name__": "kill9", "n": str(i), **writer}, [(t_ms, value)]) for i in range(SERIES_A_THREAD)]
        rows.append(series({"__name__": "kill9_histogram", **writer}, [], [histogram(t_ms, [1, self.counter % 7, 3], value)]))
        rows.append(series({"__name__": "kill9_victim", **writer}, [(t_ms, value)]))
        rows.append(series({"__name__": "kill9_late", **writer}, [(late_ms, value)]))
        return snappy(b"".join(rows))

    def late_time(self, t_ms):
        """Up to half an hour behind, and the same never twice: the last digits are the batch's own."""
        return t_ms - STEP_MS // 2 - STEP_MS * (self.counter * 7 % 300) - self.counter % 2000

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        while True:
            t_ms, value = self.next_ms, float(self.counter)
            late_ms = self.late_time(t_ms)
            self.next_ms += STEP_MS
            self.counter += 1
            self.unanswered = ((t_ms, value), (late_ms, value))
            try:
                connection.request("POST", "/api/v1/write", self.batch(t_ms, late_ms, value), headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException):
                return
            self.unanswered = None
            if 200 <= answer.status < 300:
                self.acknowledged.append((t_ms, value))
                self.late.append((late_ms, value))
            else:
                self.refused.append((answer.status, text[:200]))
                if len(self.refused) > 10:
                    return


class Carer(threading.Thread):
    """Asks for blocks, snapshots, deletions and cleaning at random moments until galen is gone."""

    ASKS = ["/-/flush"] * 4 + ["/api/v1/admin/tsdb/snapshot", "/api/v1/admin/tsdb/clean_tombstones",
                               "/api/v1/admin/tsdb/delete_series?match[]=kill9_victim"]

    def __init__(self, galen, data, rng):
        super().__init__(daemon=True)
        self.galen, self.data, self.rng, self.done = galen, data, rng, 0

    def run(self):
        while True:
            time.sleep(self.rng.uniform(0.01, 0.3))
            try:
                status, _ = self.galen.ask("POST", self.rng.choice(self.ASKS))
            except (OSError, http.client.HTTPException):
                return
            self.done += 200 <= status < 300
            for folder in glob.glob(os.path.join(self.data, "**", "snapshots"), recursive=True):
                shutil.rmtree(folder, ignore_errors=True)


# ---- checking ----

def stored(galen, selector, from_ms, to_ms):
    """{n: {t_ms: value}} of the series. Matrix selectors show every sample at its own time; a histogram counts by its sum."""
    found = {}
    for start in range(from_ms, to_ms + 1, READ_MS):
        end = min(to_ms, start + READ_MS - 1)
        query = urllib.parse.urlencode({"query": f"{selector}[{end - start + 1}ms]", "time": f"{end / 1000:.3f}"})
        status, body = galen.get("/api/v1/query?" + query)
        if status != 200:
            raise RuntimeError(f"query answered {status}: {body[:300]!r}")
        for one in json.loads(body)["data"]["result"]:
            points = found.setdefault(one["metric"].get("n", ""), {})
            for t, v in one.get("values", []):
                points[round(float(t) * 1000)] = float(v)
            for t, h in one.get("histograms", []):
                points[round(float(t) * 1000)] = float(h["sum"])
    return found


def compare(name, found, names, expected, torn):
    """What is wrong with the series `names`, empty if all is well. A torn batch is there for all of them or for none."""
    wrong, known = [], dict(expected + torn)
    for n in names:
        points = found.get(n, {})
        missing = [t for t, v in expected if points.get(t) != v]
        if missing:
            wrong.append(f"{name} {n}: {len(missing)} acknowledged samples lost, first at {missing[0]}")
        strange = [t for t, v in points.items() if known.get(t) != v]
        if strange:
            wrong.append(f"{name} {n}: {len(strange)} samples nobody sent, first at {strange[0]}")
    for t, _ in torn:
        held = sum(t in found.get(n, {}) for n in names)
        if held not in (0, len(names)):
            wrong.append(f"{name}: a batch at {t} is there for {held} of {len(names)} series")
    return wrong


def check(galen, writer, first_ms, expected, late, torn):
    """Names of what is wrong with one writer's series."""
    if not expected and not torn:
        return []
    last_ms = max(t for t, _ in expected + [on_time for on_time, _ in torn])
    first_ms -= LATE_MS
    wrong = compare(f"writer {writer} series", stored(galen, f'kill9{{writer="{writer}"}}', first_ms, last_ms),
                    [str(n) for n in range(SERIES_A_THREAD)], expected, [on_time for on_time, _ in torn])
    wrong += compare(f"writer {writer} histogram", stored(galen, f'kill9_histogram{{writer="{writer}"}}', first_ms, last_ms),
                     [""], expected, [on_time for on_time, _ in torn])
    wrong += compare(f"writer {writer} late", stored(galen, f'kill9_late{{writer="{writer}"}}', first_ms, last_ms),
                     [""], late, [behind for _, behind in torn])
    return wrong


# ---- rounds ----

def play(binary, data, rounds, rng):
    base_ms = int(time.time()) // 1000 * 1000_000 - START_BEFORE_MS
    port = free_port()
    acknowledged, late, torn = {0: [], 1: []}, {0: [], 1: []}, {0: [], 1: []}
    next_ms, counter = {0: base_ms, 1: base_ms}, {0: 0, 1: 0}
    passed = failed = 0
    print(f"{'round':>5}  {'killed after':>12}  {'ready again':>11}  {'acknowledged':>12}  {'in all':>9}  {'cares':>7}  result")
    galen = Galen(binary, data, port)
    if galen.wait_ready() is None:
        galen.end(signal.SIGKILL)
        raise RuntimeError("galen did not become ready")
    for number in range(1, rounds + 1):
        writers = [Writer(i, port, next_ms[i], counter[i]) for i in (0, 1)]
        carer = Carer(galen, data, random.Random(rng.random()))
        for thread in [*writers, carer]:
            thread.start()
        wait = rng.uniform(0.05, 1.5)
        time.sleep(wait)
        galen.end(signal.SIGKILL)
        carer.join()
        for w in writers:
            w.join()
            acknowledged[w.number] += w.acknowledged
            late[w.number] += w.late
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
                wrong += check(galen, w.number, base_ms, acknowledged[w.number], late[w.number], torn[w.number])
        passed, failed = passed + (not wrong), failed + bool(wrong)
        now = sum(len(w.acknowledged) for w in writers) * SERIES_A_THREAD
        total = sum(map(len, acknowledged.values())) * SERIES_A_THREAD
        print(f"{number:>5}  {wait:>10.2f} s  {ready or 0:>9.2f} s  {now:>12}  {total:>9}  {carer.done:>7}  {'ok' if not wrong else 'FAILED'}", flush=True)
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

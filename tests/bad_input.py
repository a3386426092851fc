#!/usr/bin/env python3
"""tests/bad_input.py --galen BINARY [--only WORD] - what galen says to broken things.

A broken configuration, rule, query or request must get an error that names the place and the remedy; a target that
sends garbage, never ends or sends a gigabyte must be cut off and marked down with the reason; a taken port, a folder
that cannot be written, a second galen on the same data must be said plainly, with exit code 1. And after all of it the
same process must still be healthy, of modest size, and end with 0 when asked.

Everything listens on loopback. Ends with "N passed, N failed"; exit status 1 if anything failed."""
import argparse
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib
from pathlib import Path

START_S = 30                    # a sanitizer build on a busy machine
SCRAPE_LIMIT = 16 << 20         # the scraper's preset body limit
GIGABYTE = 1 << 30
MEMORY_LIMIT_MIB = 900          # of a sanitizer build; a release build stays far below

GALEN = ""
ONLY = ""
passed = []
failed = []


def check(name, ok, detail=""):
    if ONLY and ONLY not in name:
        return
    (passed if ok else failed).append(name)
    print(f"{'ok   ' if ok else 'FAIL '} {name}{'' if ok else ': ' + str(detail).strip()[:600]}", flush=True)


# ---- configuration and rules, offline ----

# name, text, what the error must name (besides the file), the line it must name (0: none)
CONFIGS = [
    ("a section nobody knows is named, with the one that was meant", "wacth: {}\n", ["wacth", "watch"], 1),
    ("a key of a section nobody knows", "store:\n  retention: 15d\n  retnetion: 3d\n", ["retnetion", "retention"], 3),
    ("a key of a scrape job nobody knows",
     "watch:\n  scrape_configs:\n    - job_name: a\n      static_config: []\n", ["static_config", "static_configs"], 4),
    ("YAML that is not closed", "watch:\n  scrape_configs: [\n", [], 0),
    ("a tab as indentation", "watch:\n\tscrape_configs: []\n", [], 2),
    ("the same key twice", "store:\n  retention: 15d\n  retention: 3d\n", ["retention"], 3),
    ("a word where a duration belongs", "store:\n  retention: soon\n", ["soon"], 2),
    ("a number out of its range", "store:\n  max_series: 5\n", ["max_series"], 2),
    ("a list where a mapping belongs", "store: [1, 2]\n", ["mapping", "list"], 1),
    ("a replica without a url", "watch:\n  replicas:\n    - {name: a}\n", ["url"], 3),
    ("a replica whose url is none", "watch:\n  replicas:\n    - {name: a, url: 'ftp://x'}\n", ["ftp://x"], 3),
    ("a scrape job without a name", "watch:\n  scrape_configs:\n    - static_configs: []\n", ["job_name"], 3),
    ("two scrape jobs of one name", "watch:\n  scrape_configs:\n    - job_name: a\n    - job_name: a\n", ["a"], 4),
    ("a scrape timeout longer than its interval",
     "watch:\n  scrape_configs:\n    - job_name: a\n      scrape_interval: 1s\n      scrape_timeout: 5s\n", ["scrape_timeout", "scrape_interval"], 0),
    ("a relabelling with a broken expression",
     "watch:\n  scrape_configs:\n    - job_name: a\n      relabel_configs:\n        - {source_labels: [x], regex: '(', action: keep}\n", ["regex"], 5),
    ("a rule file that is not there", "alert:\n  rule_files: [/nowhere/rules.yml]\n", ["/nowhere/rules.yml"], 0),
    ("a route to a receiver that does not exist", "alert:\n  route: {receiver: nobody}\n  receivers: [{name: a}]\n", ["nobody"], 0),
    ("a mode of healing that does not exist", "heal:\n  mode: yolo\n", ["yolo", "suggest"], 2),
    ("a policy file that is not there", "heal:\n  policies: [/nowhere/p.yml]\n", ["/nowhere/p.yml"], 0),
    ("a section that is not built yet", "gateway: {listen: '127.0.0.1:9601'}\n", ["gateway"], 0),
    ("aliases that multiply without end",
     "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)), [], 0),
    ("nesting without end", "a: " + "[" * 5000 + "]" * 5000 + "\n", [], 0),
    ("bytes that are no text", "\x00\x01\x02 \xff\xfe", [], 0),
    ("an address to listen on that is none", "face:\n  listen: nonsense\n", ["nonsense"], 2),
    ("a rule file without a name", "alert:\n  rule_files: ['']\n", ["empty"], 2),
    ("a policy file without a name", "heal:\n  policies:\n    - ''\n", ["empty"], 3),
    ("a list instead of a configuration", "- a\n- b\n", [], 0),
]

GROUP = "groups:\n  - name: g\n    rules:\n"
RULES = [
    ("a rule whose expression does not end", GROUP + "      - alert: A\n        expr: up ==\n", ["end of input"], 5),
    ("a rule with an unknown function", GROUP + "      - alert: A\n        expr: rat(up[5m])\n", ["rat"], 5),
    ("a rule with a type error", GROUP + "      - record: a:b\n        expr: rate(up)\n", ["rate"], 5),
    ("a rule without an expression", GROUP + "      - alert: A\n", ["expr"], 4),
    ("a rule that is neither alert nor record", GROUP + "      - expr: up\n", ["alert", "record"], 4),
    ("a rule that is both", GROUP + "      - alert: A\n        record: a:b\n        expr: up\n", ["alert", "record"], 0),
    ("a rule with a key nobody knows", GROUP + "      - alert: A\n        expr: up\n        fro: 5m\n", ["fro", "for"], 6),
    ("a rule with a broken duration", GROUP + "      - alert: A\n        expr: up\n        for: 5 minutes\n", ["5 minutes"], 6),
    ("a rule with a broken template", GROUP + "      - alert: A\n        expr: up\n        annotations: {a: '{{ .Nope'}\n", [], 6),
    ("a recording rule with a broken name", GROUP + "      - record: 'a b'\n        expr: up\n", ["a b"], 4),
    ("two groups of one name", "groups:\n  - {name: g, rules: []}\n  - {name: g, rules: []}\n", ["g"], 3),
    ("rules that are no list", "groups: 7\n", ["groups"], 1),
]


def run_galen(*arguments, timeout=60):
    return subprocess.run([GALEN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, errors="replace")


def sane(text):
    return not re.search(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion|Aborted", text)


def complain_offline(work, verb, table):
    for name, text, names, line in table:
        path = work / "bad.yml"
        path.write_bytes(text.encode("latin-1"))
        done = run_galen("check", verb, str(path))
        said = done.stderr
        why = None
        if done.returncode != 1:
            why = f"exit code {done.returncode}"
        elif not sane(said):
            why = "it crashed"
        elif not said.startswith("galen: ") or ("bad.yml" not in said and "/nowhere/" not in said):
            why = "the file is not named"
        elif line and f"bad.yml:{line}:" not in said:
            why = f"line {line} is not named"
        elif missing := [n for n in names if n not in said]:
            why = f"{missing} not named"
        check(f"check {verb}: {name}", why is None, f"{why}: {said or done.stdout}")


def offline(work):
    complain_offline(work, "config", CONFIGS)
    complain_offline(work, "rules", RULES)
    done = run_galen("check", "config", str(work / "not_there.yml"))
    check("check config: a file that is not there", done.returncode == 1 and "not_there.yml" in done.stderr, done.stderr)
    (work / "empty.yml").write_text("")
    done = run_galen("check", "config", str(work / "empty.yml"))
    check("check config: an empty file is a valid one", done.returncode == 0, done.stderr)
    for arguments in (["frobnicate"], ["serve", "--frobnicate"], ["serve", "--lsten", "x"], ["serve", "--watch=maybe"], ["check"], ["query"],
                      ["serve", "--retention", "soon"], ["serve", "--retention", "0s"], ["serve", "--retention", "5m"], ["serve", "--data"]):
        done = run_galen(*arguments)
        check(f"usage: galen {' '.join(arguments)} gives exit code 2 and a hint", done.returncode == 2 and "Hint:" in done.stderr and sane(done.stderr),
              f"{done.returncode}: {done.stderr}")
    for line, command in (("'run me'", "not a shell line"), ("[]", "command")):
        (work / "bad.yml").write_text(f"watch:\n  replicas:\n    - {{name: a, url: 'http://127.0.0.1:1', process: {{command: {line}}}}}\n")
        done = run_galen("check", "config", str(work / "bad.yml"))
        check(f"check config: a process whose command is {line}", done.returncode == 1 and command in done.stderr and "bad.yml:3:" in done.stderr, done.stderr)
    for verb in ("list", "verify"):
        done = run_galen("audit", verb, "--data", str(work / "no_data"))
        check(f"audit {verb}: a data folder that is not there", done.returncode == 1 and "no_data" in done.stderr and "Hint:" in done.stderr, done.stderr)
    done = run_galen("query", "--data", str(work / "no_data"), "up")
    check("query: a data folder that is not there", done.returncode == 1 and "no_data" in done.stderr and "Hint:" in done.stderr, done.stderr)


# ---- a galen of our own ----

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Galen:
    def __init__(self, work, name, config="", arguments=()):
        self.port = free_port()
        self.data = work / f"data-{name}"
        self.config = work / f"{name}.yml"
        self.config.write_text(config)
        self.log = work / f"{name}.log"
        self.command = [GALEN, "serve", "--config", str(self.config), "--data", str(self.data),
                        "--listen", f"127.0.0.1:{self.port}", "--watch=off", *arguments]
        self.out = open(self.log, "wb")
        self.process = subprocess.Popen(self.command, stdout=self.out, stderr=subprocess.STDOUT)
        end = time.time() + START_S
        while not self.healthy("/-/ready"):
            if time.time() > end or self.process.poll() is not None:
                self.kill()
                raise RuntimeError(f"galen did not start:\n{self.text()}")
            time.sleep(0.05)

    def text(self):
        return self.log.read_text(errors="replace")

    def get(self, path, method="GET", body=None, headers=None, timeout=10):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, r.read().decode(errors="replace"), r.headers
        finally:
            c.close()

    def healthy(self, path="/-/healthy"):
        try:
            return self.get(path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def memory_mib(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) // 1024

    def raw(self, data, timeout=5, shut=False):
        """Send bytes, return all that comes back until the other side closes, sends no more, or a reply is whole."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            got = b""
            try:
                s.sendall(data)
                if shut:
                    s.shutdown(socket.SHUT_WR)
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        return got
                    got += piece
            except (socket.timeout, ConnectionError):
                return got

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return "killed, it did not end"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.out.close()


# ---- starts that cannot be ----

def refused_start(name, command, words, hint=True, **how):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=START_S, errors="replace", **how)
    except subprocess.TimeoutExpired:
        check(name, False, "it started")
        return
    missing = [w for w in words if w not in done.stderr]
    check(name, done.returncode == 1 and not missing and ("Hint:" in done.stderr or not hint) and sane(done.stderr),
          f"exit code {done.returncode}, not said: {missing}: {done.stderr}")


def serve(data, listen="127.0.0.1:0", *arguments):
    return [GALEN, "serve", "--watch=off", "--data", str(data), "--listen", listen, *arguments]


def locked_folder(work):
    """Root may write anywhere; as root the check runs as nobody, if nobody may run the binary at all."""
    locked = work / "locked"
    locked.mkdir(mode=0o555)
    how = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    work.chmod(0o755)
    try:
        subprocess.run([GALEN, "version"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    except (OSError, subprocess.CalledProcessError):
        print("skip start: the data folder cannot be written (nobody may not run this binary)")
        return
    refused_start("start: the data folder cannot be written", serve(locked), [str(locked)], **how)
    refused_start("start: the data folder cannot be made inside it", serve(locked / "deeper"), [str(locked / "deeper"), "denied"], **how)


def damaged_data(work):
    """Bytes that galen did not write, where its own should be: told or mended, never believed."""
    noise = bytes(range(256)) * 20
    for name, file, content, words in (("a token that is no secret", "token", b"short\n", ["token"]),
                                       ("a state.db that is none", "state.db", noise, ["state.db"])):
        data = work / f"damaged-{file}"
        data.mkdir()
        (data / file).write_bytes(content)
        refused_start(f"start: {name}", serve(data), words)
        check(f"start: {name} is left as it was", (data / file).read_bytes() == content)
    g = Galen(work, "damaged")
    wal = g.data / "store" / "wal"
    end = time.time() + 15
    while not any(wal.iterdir()) and time.time() < end:     # galen's own series come with its first second
        time.sleep(0.1)
    code = g.stop()
    logs = sorted(wal.iterdir())
    if not logs:
        check("start: a damaged log of the store is cut and told", False, "there is no log to damage")
        return
    logs[-1].write_bytes(noise)
    try:
        g = Galen(work, "damaged")
        check("start: a damaged log of the store is cut and told", code == 0 and "cut" in g.text(), g.text())
        check("start: and galen ends well with it", g.stop() == 0, g.text())
    except RuntimeError as e:
        check("start: a damaged log of the store is cut and told", False, e)
    finally:
        g.kill()


def starts(work, galen):
    taken = f"127.0.0.1:{galen.port}"
    refused_start("start: the port is taken", serve(work / "data-other", taken), [f"could not listen on {taken}: address already in use"])
    refused_start("start: a second galen on the same data", serve(galen.data), ["in use by another galen", str(galen.process.pid)])
    check("start: the first galen did not notice", galen.healthy())
    refused_start("start: an address that is none", serve(work / "data-other", "nonsense"), ["nonsense"])
    refused_start("start: an address beyond loopback", serve(work / "data-other", "0.0.0.0:0"), ["0.0.0.0:0", "insecure"])
    refused_start("start: an address of another machine", serve(work / "data-other", "203.0.113.7:9600", "--config", str(work / "insecure.yml")), ["203.0.113.7"])
    (work / "file").write_text("I am a file")
    refused_start("start: the data folder is a file", serve(work / "file"), [str(work / "file")])
    refused_start("start: the data folder cannot be made", serve("/proc/galen-data"), ["/proc/galen-data"])
    locked_folder(work)
    (work / "broken.yml").write_text("store: {retention: soon}\n")
    refused_start("start: a broken configuration", serve(work / "data-other", "127.0.0.1:0", "--config", str(work / "broken.yml")), ["broken.yml:1:", "soon"])
    refused_start("start: a configuration that is not there", serve(work / "data-other", "127.0.0.1:0", "--config", str(work / "nope.yml")), ["nope.yml"])


# ---- targets that misbehave ----

class Target(threading.Thread):
    """Accepts, reads the request, lets `say` have the socket; counts what it could send."""

    def __init__(self, say):
        super().__init__(daemon=True)
        self.say = say
        self.sent = 0
        self.connections = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            s.recv(65536)
            self.say(self, s)
        except OSError:
            pass
        finally:
            s.close()

    def send(self, s, data):
        s.sendall(data)
        self.sent += len(data)


def answer(body, head="", status="200 OK"):
    return lambda t, s: t.send(s, f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def endless(head, piece, pause=0.0, stop_after=GIGABYTE):
    def say(t, s):
        t.send(s, head)
        while t.sent < stop_after * 50:
            t.send(s, piece)
            if pause:
                time.sleep(pause)
    return say


def gigabyte(t, s):
    t.send(s, f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {GIGABYTE}\r\n\r\n".encode())
    line = b'a_metric_of_many{i="0123456789"} 1\n' * 1872
    for _ in range(GIGABYTE // len(line)):
        t.send(s, line)


def hang(_, s):
    s.recv(1)       # until the other side closes


def bomb():
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    lines = b"# a comment that goes on and on and on and on and on\n" * 20000
    return b"".join(z.compress(lines) for _ in range(200)) + z.flush()     # 200 MB in a few hundred KB


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
TARGETS = {
    # name: (what it does, a pattern that lastError must match; None: it is well)
    "good": (answer(b"a_metric 1\n"), None),
    "garbage": (answer(bytes(range(256)) * 64), r"."),
    "half-line": (answer(b"a_metric 1\nb_metric{x=\n"), r"line 2|2:|:2"),
    "html": (answer(b"<html><body>Welcome to nginx</body></html>\n"), r"."),
    "not-http": (lambda t, s: t.send(s, b"SSH-2.0-OpenSSH_9.2\r\n"), r"HTTP"),
    "endless": (endless(CHUNKED, b"10000\r\n" + b"a_metric 1\n" * 5957 + b"#########\r\n"), r"16777216|16 ?Mi?B|limit|longer|larger"),
    "endless-slow": (endless(CHUNKED, b"b\r\na_metric 1\n\r\n", 0.05), r"did not end|timeout|within|deadline"),
    "endless-head": (endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 1000 + b"\r\n"), r"header"),
    "endless-line": (endless(CHUNKED, b"10000\r\n" + b"a" * 65536 + b"\r\n"), r"limit|longer|larger|16777216"),
    "gigabyte": (gigabyte, r"16777216|16 ?Mi?B|limit|longer|larger"),
    "bomb": (answer(bomb(), "Content-Encoding: gzip\r\n"), r"16777216|16 ?Mi?B|limit|longer|larger"),
    "silent": (hang, r"did not answer|timeout|within|deadline"),
    "hangs-up": (lambda t, s: None, r"closed|broke|reset|without an answer"),
    "error-500": (answer(b"oh no", status="500 Internal Server Error"), r"500"),
    "cut-off": (lambda t, s: t.send(s, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na_metric 1\n"), r"ended|complete|cut|closed"),
    "label-flood": (answer(b"a{" + b",".join(b'l%d="v"' % i for i in range(100000)) + b"} 1\n"), r"labels"),
    "protobuf-garbage": (answer(b"\x7f" + b"\xff" * 300, "Content-Type: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n"), r"protobuf"),
    "protobuf-cut": (answer(b"\x09\x0a\x01a\x22\x04", "Content-Type: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n"), r"protobuf"),
    "redirects": (answer(b"", "Connection: close\r\nLocation: /metrics\r\n", "302 Found"), r"redirect|302"),
}


def scrape_config(ports):
    # Long enough for 16 MiB to arrive on a busy machine: it is the limit that must cut them off, not the clock.
    jobs = "".join(f"    - job_name: {name}\n      scrape_interval: 6s\n      scrape_timeout: 6s\n"
                   f"      static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n" for name, port in ports.items())
    return f"watch:\n  scrape_configs:\n{jobs}"


def targets(galen, servers, ports):
    end = time.time() + 40
    state = {}
    while time.time() < end:
        status, text, _ = galen.get("/api/v1/targets", timeout=20)
        if status != 200:
            break
        state = {t["labels"]["job"]: t for t in json.loads(text)["data"]["activeTargets"]}
        if all(state.get(n, {}).get("health") in ("up", "down") for n in ports):
            break
        time.sleep(0.5)
    for name in ports:
        want = TARGETS[name][1] if name in TARGETS else r"refused"
        t = state.get(name, {})
        error = t.get("lastError", "")
        if want is None:
            check(f"target {name}: is up", t.get("health") == "up", t)
        else:
            check(f"target {name}: is down and says why", t.get("health") == "down" and re.search(want, error, re.I), f"{t.get('health')}: \"{error}\"")
    for name in ("gigabyte", "endless", "endless-line"):
        s = servers[name]
        each = s.sent // max(s.connections, 1)
        check(f"target {name}: was cut off near the limit", each < SCRAPE_LIMIT + (12 << 20), f"{each >> 20} MiB a scrape")
    status, text, _ = galen.get("/api/v1/query?query=" + urllib.parse.quote("up == 1"))
    up = {r["metric"]["job"] for r in json.loads(text)["data"]["result"]} if status == 200 else text
    check("targets: up is 1 for the good one only", up == {"good"}, up)
    status, text, _ = galen.get("/api/v1/query?query=" + urllib.parse.quote('{__name__=~"a_metric.*"}'))
    jobs = {r["metric"]["job"] for r in json.loads(text)["data"]["result"]} if status == 200 else text
    check("targets: nothing of a broken page was kept", jobs == {"good"}, jobs)
    check("targets: galen stayed of modest size", galen.memory_mib() < MEMORY_LIMIT_MIB, f"{galen.memory_mib()} MiB")


# ---- requests ----

HOST = "Host: localhost\r\n"
CLOSE = "Connection: close\r\n"
# name, bytes, statuses of all replies in order (smugglers get one refusal and never a second reply)
PROBES = [
    ("a plain request", f"GET /-/healthy HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [200]),
    ("two behind each other", f"GET /-/healthy HTTP/1.1\r\n{HOST}\r\nGET /-/ready HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [200, 200]),
    ("HTTP/0.9", "GET /\r\n\r\n", [400]),
    ("a bare LF", f"GET / HTTP/1.1\nHost: localhost\n\n", [400]),
    ("an empty line in front", f"\r\nGET / HTTP/1.1\r\n{HOST}\r\n", [400]),
    ("no Host", "GET / HTTP/1.1\r\n\r\n", [400]),
    ("two Hosts", f"GET / HTTP/1.1\r\n{HOST}Host: evil\r\n\r\n", [400]),
    ("a stranger's Host", "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", [403]),
    ("another host in the target", f"GET http://evil.example/ HTTP/1.1\r\n{HOST}\r\n", [400]),
    ("a length and chunks", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /-/healthy HTTP/1.1\r\n{HOST}\r\n", [400]),
    ("chunks and a length", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /-/healthy HTTP/1.1\r\n{HOST}\r\n", [400]),
    ("two lengths", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdefGET / HTTP/1.1\r\n\r\n", [400]),
    ("a folded Transfer-Encoding", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", [400]),
    ("a space before the colon", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", [400]),
    ("a CR that hides a field", f"POST / HTTP/1.1\r\n{HOST}X:\rContent-Length: 30\r\n\r\nGET /-/healthy HTTP/1.1\r\n{HOST}\r\n", [400]),
    ("gzip, chunked", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [501]),
    ("xchunked", f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [501]),
    ("chunks in HTTP/1.0", f"POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    ("a chunk size with a sign", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n", [400]),
    ("a chunk size beyond 64 bits", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n", [400]),
    ("a field without a name", f"GET / HTTP/1.1\r\n: x\r\n{HOST}\r\n", [400]),
    ("a field without a colon", f"GET / HTTP/1.1\r\n{HOST}abc\r\n\r\n", [400]),
    ("a head without end", f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 70000}", [431]),
    ("a target without end", f"GET /{'a' * 70000}", [431]),
    ("too many fields", f"GET / HTTP/1.1\r\n{HOST}" + "X: y\r\n" * 1000 + "\r\n", [431]),
    ("a body that is too large", f"POST /api/v1/write HTTP/1.1\r\n{HOST}Content-Length: {GIGABYTE}\r\n\r\n", [413]),
    ("CONNECT", f"CONNECT evil:1 HTTP/1.1\r\n{HOST}\r\n", [501]),
    ("TRACE", f"TRACE / HTTP/1.1\r\n{HOST}\r\n", [501]),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    ("%00 in the path", f"GET /a%00b HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [400]),
    ("dots in the path", f"GET /assets/../../../etc/passwd HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [400]),
    ("encoded dots in the path", f"GET /assets/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n{HOST}{CLOSE}\r\n", [400]),
    ("bytes behind the last request", f"GET /-/healthy HTTP/1.1\r\n{HOST}{CLOSE}\r\nGET /-/healthy HTTP/1.1\r\n{HOST}\r\n", [200]),
]


def smuggle(galen):
    for name, data, want in PROBES:
        got = galen.raw(data.encode("latin-1"))
        statuses = [int(m) for m in re.findall(rb"(?:^|[\n}0-9a-zA-Z.>])HTTP/1\.1 (\d\d\d) ", got)]
        check(f"request: {name}", statuses == want, f"{statuses} instead of {want}: {got[:200]!r}")
        if want[-1] >= 400 and statuses == want:
            body = got.split(b"\r\n\r\n")[-1]
            try:
                ok = json.loads(body)["error"] != ""
            except (ValueError, KeyError):
                ok = False
            check(f"request: {name} (says why)", ok, got)


def api(galen):
    q = urllib.parse.quote

    def ask(name, status, words, path, **how):
        got, text, _ = galen.get(path, **how)
        missing = [w for w in words if w not in text]
        check(f"api: {name}", (got in status if isinstance(status, tuple) else got == status) and not missing, f"{got}, not said: {missing}: {text}")

    ask("a query that does not end", 400, ["bad_data", "1:"], "/api/v1/query?query=" + q("up =="))
    ask("a query with an unknown function", 400, ["bad_data", "rat"], "/api/v1/query?query=" + q("rat(up[5m])"))
    ask("a query with a type error", 400, ["bad_data"], "/api/v1/query?query=" + q("rate(up)"))
    ask("no query", 400, ["bad_data"], "/api/v1/query")
    ask("a query nested without end", 400, ["bad_data"], "/api/v1/query", method="POST",
        body="query=" + q("(" * 20000 + "1" + ")" * 20000), headers={"Content-Type": "application/x-www-form-urlencoded"})
    ask("a query that is no text", 400, ["bad_data"], "/api/v1/query?query=%ff%fe%00")
    ask("a broken time", 400, ["bad_data", "time"], "/api/v1/query?query=up&time=noon")
    ask("a step of zero", 400, ["bad_data", "step"], "/api/v1/query_range?query=up&start=1&end=2&step=0")
    ask("an end before the start", 400, ["bad_data", "end"], "/api/v1/query_range?query=up&start=2&end=1&step=1")
    ask("too many points", 400, ["bad_data"], "/api/v1/query_range?query=up&start=0&end=1000000000&step=1")
    ask("a broken matcher", 400, ["bad_data"], "/api/v1/series?match[]=" + q("{job="))
    ask("no matcher", 400, ["bad_data"], "/api/v1/series")
    ask("a path that is not there", 404, ['"error"', "/api/v1/nope", '"hint"'], "/api/v1/nope")
    ask("a page that is not there", 404, ["nope"], "/nope.html")
    ask("a wrong method", 405, ['"error"', '"hint"'], "/api/v1/targets", method="DELETE")
    ask("an incident that is not there", 404, ['"error"'], "/api/galen/v1/incidents/999999999")
    ask("an incident that is no number", (400, 404), ['"error"'], "/api/galen/v1/incidents/%2e%2e%2f")
    ask("a change without the token", 401, ['"error"', "token"], "/api/galen/v1/heal/pause", method="POST")
    ask("a change with a wrong token", 401, ['"error"'], "/api/galen/v1/heal/pause", method="POST", headers={"Authorization": "Bearer x"})
    ask("a change from another site's page", 403, ['"error"', "Origin"], "/api/galen/v1/heal/pause", method="POST", headers={"Origin": "http://evil.example"})
    ask("remote write: garbage", 400, [], "/api/v1/write", method="POST", body=b"\xff" * 100, headers={"Content-Encoding": "snappy"})
    ask("remote write: snappy that lies about its size", (400, 413), [], "/api/v1/write", method="POST", body=b"\xff\xff\xff\xff\x0f" + b"a" * 50,
        headers={"Content-Encoding": "snappy"})
    ask("remote write: a protobuf that is none", 400, [], "/api/v1/write", method="POST", body=b"\x05\x10hello", headers={"Content-Encoding": "snappy"})
    ask("remote write: an unknown encoding", (400, 415, 501), [], "/api/v1/write", method="POST", body=b"x", headers={"Content-Encoding": "br"})
    ask("remote write: no body", (200, 204, 400), [], "/api/v1/write", method="POST")
    for name, codes, body, headers in write_floods():
        ask(f"remote write: {name}", codes, [], "/api/v1/write", method="POST", body=body, headers=headers)
    ask("remote read: garbage", 400, ["snappy"], "/api/v1/read", method="POST", body=b"\xff" * 100)
    ask("remote read: snappy that lies about its size", 400, ["unpacks to more"], "/api/v1/read", method="POST", body=b"\xff\xff\xff\xff\x0f" + b"a" * 50)
    ask("remote read: a body of 10 MB", 413, [], "/api/v1/read", method="POST", body=b"a" * 10_000_000)
    ask("a query of 10 MB", 413, [], "/api/v1/query", method="POST", body="query=" + "a" * 10_000_000, headers={"Content-Type": "application/x-www-form-urlencoded"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    ask("a series question of 1000 selectors", 400, ["more than"], "/api/v1/series", method="POST", body="&".join(["match[]=up"] * 1000), headers=form)
    ask("a selector of 5000 matchers", 400, ["bad_data"], "/api/v1/series", method="POST", body="match[]=" + q("{" + ",".join(f'l{i}=~"(a|b)*c{{1000}}{{1000}}"' for i in range(5000)) + "}"), headers=form)
    ask("federation of a broken matcher", 400, ["parse error"], "/federate?match[]=" + q("up{"))
    ask("federation of an expression", 400, [], "/federate?match[]=" + q("rate(up[5m])"))
    ask("deleting nothing in particular", 400, ["no match[]"], "/api/v1/admin/tsdb/delete_series", method="POST")
    ask("deleting everything by an empty matcher", 400, ["non-empty"], "/api/v1/admin/tsdb/delete_series?match[]=" + q('{x=~".*"}'), method="POST")
    ask("deleting by GET", 405, [], "/api/v1/admin/tsdb/delete_series?match[]=up")
    ask("deleting from another site's page", 403, ["Origin"], "/api/v1/admin/tsdb/delete_series?match[]=up", method="POST", headers={"Origin": "http://evil.example"})
    ask("ending a query without the token", 401, ["token"], "/api/galen/v1/queries/1", method="DELETE")
    ask("a limit that is none", 400, ["limit"], "/api/v1/status/tsdb?limit=-1")
    ask("rules in pages of nothing", 400, ["group_limit"], "/api/v1/rules?group_limit=0")
    check("api: galen is still healthy", galen.healthy())


def pb_bytes(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(n):
    out = b""
    while n >= 128:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def snappy(raw):
    """Snappy's block format with literals only."""
    out = varint(len(raw))
    for i in range(0, len(raw), 65536):
        piece = raw[i:i + 65536]
        out += b"\xf4" + struct.pack("<H", len(piece) - 1) + piece
    return out


def write_floods():
    """Requests that are well packed and mean harm: the reason must come, and nothing may grow."""
    plain = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    v2 = dict(plain, **{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"})
    name = pb_bytes(1, b"__name__") + pb_bytes(2, b"flood")
    sample = pb_bytes(2, b"\x09" + struct.pack("<d", 1) + b"\x10" + varint(int(time.time() * 1000)))
    labels = b"".join(pb_bytes(1, pb_bytes(1, b"l%d" % i) + pb_bytes(2, b"v")) for i in range(100000))
    long = pb_bytes(1, pb_bytes(1, b"l") + pb_bytes(2, b"v" * (1 << 20)))
    deep = b"\x08\x01"
    for _ in range(2000):
        deep = pb_bytes(15, deep)
    buckets = pb_bytes(4, b"\x08\x05" + pb_bytes(12, b"\x02" * 1000000))
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    gzip_bomb = zeros.compress(bytes(64 << 20)) + zeros.compress(bytes(128 << 20)) + zeros.flush()
    return [
        ("a gzip bomb", 413, gzip_bomb, dict(plain, **{"Content-Encoding": "gzip"})),
        ("damaged zstd", 400, b"\x28\xb5\x2f\xfd" + b"\xff" * 40, dict(plain, **{"Content-Encoding": "zstd"})),
        ("snappy that promises 4 GiB", (400, 413), varint((1 << 32) - 1) + b"\x00" * 20, plain),
        ("a series with a hundred thousand labels", 400, snappy(pb_bytes(1, pb_bytes(1, name) + labels + sample)), plain),
        ("a label of a megabyte", 400, snappy(pb_bytes(1, pb_bytes(1, name) + long + sample)), plain),
        ("two million empty series", 413, snappy(b"\x0a\x00" * 2000000), plain),
        ("two million empty symbols", 413, snappy(b"\x22\x00" * 2000000), v2),
        ("messages nested in unknown fields", 204, snappy(deep), plain),
        ("a group", 400, snappy(b"\x0b\x0c"), plain),
        ("a histogram with a million buckets", 400, snappy(pb_bytes(1, pb_bytes(1, name) + buckets)), plain),
        ("2.0 whose references lead nowhere", 400, snappy(b"\x22\x00" + pb_bytes(5, pb_bytes(1, b"\x05\x06") + sample)), v2),
        ("2.0 whose first symbol is not empty", 400, snappy(pb_bytes(4, b"x") + pb_bytes(5, b"")), v2),
        ("a content type that is not remote write", 415, b"{}", {"Content-Type": "application/json"}),
        ("a version that does not exist", 415, b"", dict(plain, **{"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"})),
    ]


def crowd(galen):
    """Clients that take their time, or vanish, must not keep others from being served."""
    slow = [socket.create_connection(("127.0.0.1", galen.port)) for _ in range(200)]
    for i, s in enumerate(slow):
        s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: lo" if i % 2 else f"POST /api/v1/write HTTP/1.1\r\n{HOST}Content-Length: 100\r\n\r\nab".encode())
    start = time.time()
    ok = galen.healthy()
    check("crowd: 200 clients that do not go on hold nobody up", ok and time.time() - start < 3, f"{time.time() - start:.1f} s")
    for s in slow:
        s.close()
    for _ in range(200):        # reset instead of good-bye, in the middle of everything
        s = socket.create_connection(("127.0.0.1", galen.port))
        s.sendall(f"GET /metrics HTTP/1.1\r\n{HOST}\r\nGET /api/v1/query?query=up HTTP/1.1\r\n{HOST}\r\n".encode())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    check("crowd: 200 clients that hang up in the middle do no harm", galen.healthy())


def reload(galen):
    good = galen.config.read_text()
    galen.config.write_text(good + "\nwacth: {}\n")
    status, text, _ = galen.get("/-/reload", method="POST", timeout=20)
    check("reload: a broken file is refused and named", status >= 400 and "wacth" in text, f"{status}: {text}")
    galen.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    check("reload: a broken file by SIGHUP is survived", galen.healthy())
    status, text, _ = galen.get("/api/v1/targets")
    check("reload: what ran before goes on", status == 200 and len(json.loads(text)["data"]["activeTargets"]) > 1, text)
    galen.config.write_text(good + "store: {retention: 1d}\n")
    status, text, _ = galen.get("/-/reload", method="POST", timeout=20)
    time.sleep(0.2)
    check("reload: what only a start can change is named", status == 200 and "store.retention" in galen.text(), f"{status}: {text}")
    galen.config.write_text(good)
    status, text, _ = galen.get("/-/reload", method="POST", timeout=20)
    check("reload: the mended file is taken", status == 200, f"{status}: {text}")


def online(work):
    servers = {name: Target(say) for name, (say, _) in TARGETS.items()}
    ports = {name: s.port for name, s in servers.items()}
    ports["refused"] = free_port()
    (work / "insecure.yml").write_text("face: {insecure: true}\n")
    galen = Galen(work, "main", scrape_config(ports))
    try:
        smuggle(galen)
        api(galen)
        crowd(galen)
        starts(work, galen)
        damaged_data(work)
        targets(galen, servers, ports)
        reload(galen)
        check("end: galen is healthy after all of this", galen.healthy())
        none = run_galen("query", "--data", str(galen.data), "no_such_series")
        nothing = run_galen("audit", "list", "--data", str(galen.data), "--kind", "no.such.kind")
        check("audit list: that nothing matches is told", nothing.returncode == 0 and "no records match" in nothing.stderr, nothing.stderr)
        check("query: an empty result is told", none.returncode == 0 and none.stdout == "" and "no series match" in none.stderr, none.stderr)
        code = galen.stop()
        check("end: SIGTERM ends it with 0", code == 0, f"{code}: {galen.text()[-2000:]}")
        check("end: no sanitizer complained", sane(galen.text()), galen.text()[-3000:])
    finally:
        galen.kill()
        for s in servers.values():
            s.socket.close()
        if failed and galen.log.exists():
            print("---- the end of galen's log ----\n" + galen.text()[-3000:], file=sys.stderr)


def main():
    global GALEN, ONLY
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--galen", default="build/galen", type=os.path.abspath)
    parser.add_argument("--only", default="", help="count only checks whose name holds this word")
    options = parser.parse_args()
    GALEN, ONLY = options.galen, options.only
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        offline(work)
        online(work)
    print(f"{len(passed)} passed, {len(failed)} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()

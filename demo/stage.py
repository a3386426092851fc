"""demo/stage.py - builds the demo's stage and takes it down again: engine, configuration, galen, and somebody to tell.

Everything of one run lies in build/demo/run-PID: galen.yml, policies, galen's data, logs. Every process of the
run has that folder in its command line; that is how the end finds them all, also an engine that galen started in a
session of its own, also a stopped one.
"""
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from traffic import OPENER

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/demo"
ENGINE = ROOT / "demo/engine"
MODEL = "tiny"
PACE_MS = 20
SLOTS = 4
STOP_S = 10


class DemoError(Exception):
    """Something of the demo itself failed; the message is a sentence for people."""


def free_port(wanted=0):
    """`wanted` when it is free, else any free port."""
    for port in {wanted: 1, 0: 1}:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return s.getsockname()[1]
            except OSError:
                continue
    raise DemoError("no free port on 127.0.0.1")


def prepare(say):
    """Fetch the engine's packages and write its model, once. Returns the path of Node."""
    BUILD.mkdir(parents=True, exist_ok=True)
    found = subprocess.run([ROOT / "tools/get-node"], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise DemoError("the engine needs Node 20 or newer, and none could be had")
    lock = (ENGINE / "package-lock.json").read_text()
    stamp = BUILD / "package-lock.installed"
    if not stamp.exists() or stamp.read_text() != lock:
        say("Fetching llama.cpp's prebuilt CPU binary (node-llama-cpp, 85 MB on disk, once) ...")
        for name in ("package.json", "package-lock.json"):
            shutil.copy(ENGINE / name, BUILD / name)
        # Not "npm ci": that one insists on lock entries for the optional packages of every other platform, which
        # the registry's mirrors do not all have. With --no-save the lock's versions and hashes hold all the same.
        got = subprocess.run(["npm", "install", "--no-save", "--omit=optional", "--ignore-scripts", "--no-audit",
                              "--no-fund", "--loglevel=error"], cwd=BUILD, stdout=subprocess.DEVNULL)
        if got.returncode:
            raise DemoError("could not fetch node-llama-cpp with npm; check the network and try again")
        stamp.write_text(lock)
    if not (BUILD / "tiny.gguf").exists():
        say("Writing a tiny but real model (build/demo/tiny.gguf) ...")
        part = BUILD / "tiny.gguf.part"
        subprocess.run(["python3", ENGINE / "make-tiny-gguf.py", part], check=True, stderr=subprocess.DEVNULL)
        part.rename(BUILD / "tiny.gguf")
    return found.stdout.strip()


class Receiver:
    """The person who is told: a webhook listener that remembers what it heard."""

    def __init__(self):
        self.heard = []                         # (time, alert) in order of arrival
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    outer.heard += [(time.time(), a) for a in json.loads(body).get("alerts", [])]
                except (ValueError, AttributeError):
                    pass                        # counts as not heard
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/galen"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def since(self, t, status, name):
        """When the alert `name` was first heard with this status after `t`, or None."""
        for at, alert in list(self.heard):
            labels = alert.get("labels", {})
            if at >= t and alert.get("status") == status and labels.get("alertname") == name and labels.get("job") == "demo":
                return at
        return None


class Stage:
    def __init__(self, galen, flavour, listen_port, say):
        self.galen, self.flavour, self.say = Path(galen), flavour, say
        if not self.galen.exists():
            raise DemoError(f"{galen} is not there; run make build first")
        self.node = prepare(say)
        self.run = BUILD / f"run-{os.getpid()}"
        shutil.rmtree(self.run, ignore_errors=True)
        (self.run / "policies").mkdir(parents=True)
        os.link(BUILD / "tiny.gguf", self.run / "tiny.gguf")
        self.receiver = Receiver()
        self.engine_port, self.port = free_port(), free_port(listen_port)
        self.engine_url = f"http://127.0.0.1:{self.engine_port}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.subject = f"replica:demo/127.0.0.1:{self.engine_port}"
        self.process = None
        self._configure()

    def _configure(self):
        command = [self.node, str(ENGINE / "server.mjs"), "--model", str(self.run / "tiny.gguf"), "--name", MODEL,
                   "--modules", str(BUILD), "--port", str(self.engine_port), "--flavour", self.flavour, "--faults",
                   "--slots", str(SLOTS), "--pace", str(PACE_MS)]
        values = {"command": json.dumps(command), "engine_url": self.engine_url, "model": MODEL,
                  "webhook": self.receiver.url, "engine_port": str(self.engine_port)}
        for source in sorted((ROOT / "demo/config").rglob("*.yml")):
            text = source.read_text()
            for key, value in values.items():
                text = text.replace("${" + key + "}", value)
            (self.run / source.relative_to(ROOT / "demo/config")).write_text(text)

    def start(self):
        log = open(self.run / "galen.log", "ab")
        self.process = subprocess.Popen(
            [self.galen, "serve", "--config", self.run / "galen.yml", "--data", self.run / "data",
             "--listen", f"127.0.0.1:{self.port}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True)
        self.until(lambda: self.get("/-/ready", raw=True) is not None, 60, "galen to be ready")
        self.until(lambda: self.engine_pid(), 60, "galen to start the engine")
        self.until(lambda: self._engine_answers(), 120, "the engine to load its model")

    def until(self, ready, seconds, what):
        end = time.time() + seconds
        while True:
            if self.process and self.process.poll() is not None:
                last = (self.run / "galen.log").read_text(errors="replace").splitlines()[-5:]
                raise DemoError(f"galen ended with status {self.process.returncode} while waiting for {what}\n  "
                                + "\n  ".join(last))
            result = ready()
            if result:
                return result
            if time.time() > end:
                raise DemoError(f"gave up after {seconds} s waiting for {what}")
            time.sleep(0.1)

    # ---- asking galen ----
    def get(self, path, raw=False):
        """JSON of a path, None when there is no good answer."""
        try:
            with OPENER.open(self.url + path, timeout=10) as answer:
                body = answer.read()
            return body if raw else json.loads(body)
        except (OSError, ValueError):
            return None

    def incidents(self):
        return [i for i in self._list("/api/galen/v1/incidents", "incidents") if i.get("subject") == self.subject]

    def incident(self, ident):
        """The incident with its evidence, or an empty one while it is not known."""
        return (self.get(f"/api/galen/v1/incidents/{ident}") or {}).get("incident") or {}

    def episodes(self, incident):
        return [e for e in self._list("/api/galen/v1/heal", "episodes") if e.get("incident") == incident]

    def alerts(self):
        return ((self.get("/api/v1/alerts") or {}).get("data") or {}).get("alerts") or []

    def _list(self, path, key):
        answer = self.get(path)
        return answer if isinstance(answer, list) else (answer or {}).get(key) or []

    def audit(self, *arguments):
        """`galen audit ...` on the run's data, beside the running galen. Returns (exit status, output)."""
        done = subprocess.run([self.galen, "audit", *arguments, "--data", self.run / "data"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        return done.returncode, done.stdout

    # ---- the engine, seen from outside ----
    def _engine_answers(self):
        try:
            with OPENER.open(self.engine_url + "/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def fault(self, kind):
        request = urllib.request.Request(self.engine_url + "/fault", json.dumps({"kind": kind}).encode())
        with OPENER.open(request, timeout=5):
            pass

    def engine_pid(self):
        """Read from /proc, not asked of galen: the witness must not be the accused."""
        pids = [pid for pid, words in self._processes() if str(ENGINE / "server.mjs") in words]
        return pids[0] if pids else None

    def _processes(self):
        """galen and engines of this run; a pager on one of its logs is none of them."""
        needle, programs = str(self.run), {str(ENGINE / "server.mjs"), str(self.galen)}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                words = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(needle in w for w in words) and programs & set(words):
                yield int(entry), words

    # ---- the end ----
    def stop(self):
        """End galen politely, everything else of this run for certain. Returns galen's exit status."""
        status = None
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = self.process.wait()
        for _ in range(50):
            left = list(self._processes())
            for pid, _words in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not left:
                break
            time.sleep(0.1)
        self.receiver.server.shutdown()
        return status

    def remove(self):
        shutil.rmtree(self.run, ignore_errors=True)

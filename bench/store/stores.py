"""bench/store/stores.py - the stores that are compared, as processes: start, stop, kill, size, CPU and memory."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time


def log(*a):
    print(time.strftime("%H:%M:%S"), *a, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ------------------------------------------------------------------ processes

def cpu_s(pid):
    """CPU seconds (user + system) of a whole process: the sum that /proc/PID/stat shows in
    10 ms ticks, read with nanosecond resolution from the process CPU clock."""
    return time.clock_gettime((~pid << 3) | 2)


def machine_cpu_s(steal=False):
    """CPU seconds that the whole machine has spent busy since boot (or that were stolen from it)."""
    f = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (f[7] if steal else sum(f) - f[3] - f[4] - f[7]) / os.sysconf("SC_CLK_TCK")


def wait_quiet(limit=10):
    """Wait for a quiet machine; returns the cores still used by others at the end."""
    t, used = time.monotonic(), 9.0
    while time.monotonic() - t < limit:
        c, m = machine_cpu_s(), time.monotonic()
        time.sleep(1.5)
        used = (machine_cpu_s() - c) / (time.monotonic() - m)
        if used < 0.1:
            break
    return used


def rss_mb(pid):
    """Resident MiB: (all, anonymous only, the kernel's own high-water mark)."""
    d = dict(re.findall(r"^(VmRSS|RssAnon|VmHWM):\s+(\d+)", open(f"/proc/{pid}/status").read(), re.M))
    return tuple(int(d[k]) / 1024 for k in ("VmRSS", "RssAnon", "VmHWM"))


class Sampler(threading.Thread):
    """Watches memory while something runs."""
    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.end, self.rss, self.anon = pid, threading.Event(), 0, 0
        self.start()

    def run(self):
        while not self.end.wait(0.2):
            try:
                r, a, _ = rss_mb(self.pid)
            except (OSError, KeyError):
                return
            self.rss, self.anon = max(self.rss, r), max(self.anon, a)

    def stop(self):
        self.end.set()
        self.join()


def tree(path):
    """Bytes in files below path: (apparent, allocated)."""
    a = b = 0
    for d, _, names in os.walk(path):
        for n in names:
            try:
                st = os.lstat(os.path.join(d, n))
            except OSError:
                continue
            a, b = a + st.st_size, b + st.st_blocks * 512
    return a, b


# --------------------------------------------------------------------- stores

class Store:
    ready_paths = ("/-/ready",)

    def __init__(self, root):
        self.root, self.data, self.port, self.p = root, os.path.join(root, "data"), free_port(), None
        os.makedirs(self.data, exist_ok=True)
        self.scrape_file = None

    addr = property(lambda s: f"127.0.0.1:{s.port}")
    pid = property(lambda s: s.p.pid)
    write_url = property(lambda s: f"http://{s.addr}/api/v1/write")

    def start(self, limit=300):
        """Start and wait until it answers a query.  Returns the seconds that took."""
        t = time.monotonic()
        self.err = open(os.path.join(self.root, "log"), "ab")
        self.p = subprocess.Popen(self.command(), stdout=self.err, stderr=self.err,
                                  cwd=self.root, stdin=subprocess.DEVNULL)
        while time.monotonic() - t < limit:
            if self.p.poll() is not None:
                raise SystemExit("store died: " + open(os.path.join(self.root, "log")).read()[-2000:])
            try:
                if any(self.get(p)[0] == 200 for p in self.ready_paths) and \
                        self.get("/api/v1/query?query=1%2B1")[0] == 200:
                    return time.monotonic() - t
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit("store not ready in time")

    def get(self, path, method="GET", timeout=300):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path)
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def stop(self, sig=signal.SIGTERM, limit=120):
        t = time.monotonic()
        if self.p and self.p.poll() is None:
            self.p.send_signal(sig)
            try:
                self.p.wait(limit)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.err.close()
        return time.monotonic() - t

    def parts(self):
        """Disk use by part of the data directory, in bytes (apparent size)."""
        out = {}
        for n in sorted(os.listdir(self.data)):
            p = os.path.join(self.data, n)
            size = tree(p)[0] if os.path.isdir(p) else os.path.getsize(p)
            k = self.part_of(n)
            out[k] = out.get(k, 0) + size
        return out

    def part_of(self, name):
        return name

    def flush(self):
        """Bring the data into its final form; returns {part: bytes} of that form."""
        return None


class Prometheus(Store):
    def command(self):
        cfg = self.scrape_file
        if not cfg:
            cfg = os.path.join(self.root, "empty.yml")
            open(cfg, "w").write("global: {scrape_interval: 15s}\n")
        return [os.environ.get("PROMETHEUS", "prometheus"), f"--config.file={cfg}",
                f"--storage.tsdb.path={self.data}", f"--web.listen-address={self.addr}",
                "--storage.tsdb.retention.time=60d", "--web.enable-remote-write-receiver",
                "--web.enable-admin-api", "--log.level=warn"]

    def part_of(self, name):
        return "blocks" if re.fullmatch(r"[0-9A-Z]{26}", name) else name

    def flush(self):
        # The admin snapshot hard-links finished blocks and writes the head as a block.
        st, body = self.get("/api/v1/admin/tsdb/snapshot", "POST")
        if st != 200:
            return None
        snap = os.path.join(self.data, "snapshots", json.loads(body)["data"]["name"])
        out = {"blocks": tree(snap)[0], "of which index": 0, "nblocks": 0}
        for b in os.listdir(snap):
            out["nblocks"] += 1
            out["of which index"] += os.path.getsize(os.path.join(snap, b, "index"))
        shutil.rmtree(os.path.join(self.data, "snapshots"))
        return out


class VictoriaMetrics(Store):
    ready_paths = ("/health",)

    def command(self):
        c = [os.environ.get("VICTORIAMETRICS", "victoria-metrics"), f"-storageDataPath={self.data}",
             f"-httpListenAddr={self.addr}", "-retentionPeriod=12", "-loggerLevel=WARN",
             "-search.maxUniqueTimeseries=5000000", "-search.maxQueryDuration=300s",
             "-search.maxSeries=5000000"]
        if self.scrape_file:
            c.append(f"-promscrape.config={self.scrape_file}")
        return c

    def flush(self):
        self.get("/internal/force_flush")
        self.get("/internal/force_merge")
        t = time.monotonic()
        time.sleep(1)
        while time.monotonic() - t < 120:
            m = re.search(rb"^vm_active_force_merges (\d+)", self.get("/metrics")[1], re.M)
            if m and int(m[1]) == 0:
                break
            time.sleep(0.25)
        time.sleep(1)
        return self.parts()


class Galen(Store):
    """`galen serve --data DIR --listen ADDR`.  $GALEN: the binary; $GALEN_ARGS: more arguments;
    $GALEN_SCRAPE_FLAG: how to name a Prometheus scrape file; $GALEN_FLUSH: a path to POST to
    that writes everything in its final form (the measure is taken after it, if it is there)."""
    ready_paths = ("/-/ready", "/health", "/healthz")

    def command(self):
        c = [os.environ.get("GALEN", "galen"), "serve", "--data", self.data, "--listen", self.addr, "--watch=off"]
        c += os.environ.get("GALEN_ARGS", "").split()
        if self.scrape_file:
            c += [os.environ.get("GALEN_SCRAPE_FLAG", "--prometheus.config"), self.scrape_file]
        return c

    def flush(self):
        st, _ = self.get(os.environ.get("GALEN_FLUSH", "/-/flush"), "POST")
        time.sleep(1)
        return self.parts() if st // 100 == 2 else None


STORES = {"prometheus": Prometheus, "victoriametrics": VictoriaMetrics, "galen": Galen}


def version(name):
    s = STORES[name].__new__(STORES[name])
    s.root = s.data = "."
    s.port, s.scrape_file = 1, "x"
    exe = s.command()[0]
    try:
        r = subprocess.run([exe, "-version" if name == "victoriametrics" else "--version"],
                           capture_output=True, text=True, timeout=10)
        text = (r.stdout + r.stderr).strip()
        if r.returncode == 0 and text:
            return text.splitlines()[0][:120]
        # Debian's victoria-metrics prints no version: ask the package.
        r = subprocess.run(["dpkg-query", "-S", shutil.which(exe) or exe], capture_output=True, text=True)
        r = subprocess.run(["dpkg-query", "-W", r.stdout.split(":")[0]], capture_output=True, text=True)
        return " ".join(r.stdout.split()) or "version unknown"
    except OSError as e:
        raise SystemExit(f"{exe}: {e}")


def settle(pid, limit=40):
    """Wait until the store has done its background work: under 5 % of a core for 2 s."""
    t = time.monotonic()
    quiet = 0
    while time.monotonic() - t < limit and quiet < 4:
        c = cpu_s(pid)
        time.sleep(0.5)
        quiet = quiet + 1 if cpu_s(pid) - c < 0.025 else 0
    return time.monotonic() - t


def fresh(name, work):
    root = tempfile.mkdtemp(prefix=f"bench-{name}-", dir=work)
    return STORES[name](root)


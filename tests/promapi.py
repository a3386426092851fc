"""tests/promapi.py - what the tests send and ask with: remote write 1.0 by hand, a galen or a Prometheus to talk to.

Protobuf and snappy (literals only) are written by hand, so that galen's own code is not judged by itself. Python's
standard library only.
"""
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def sample(t_ms, value):
    """prometheus.Sample: 1 double value, 2 int64 timestamp. A value may be given as 8 raw bytes (NaN payloads)."""
    raw = value if isinstance(value, bytes) else struct.pack("<d", value)
    return field(2, b"\x09" + raw + b"\x10" + varint(t_ms))


def zigzag(n):
    return varint(n << 1 if n >= 0 else -n * 2 - 1)


def histogram(t_ms, counts, total, schema=0):
    """prometheus.Histogram with whole counts in neighbouring positive buckets from index 0 on."""
    deltas = b"".join(zigzag(c - b) for b, c in zip([0, *counts], counts))
    span = field(11, b"\x08" + zigzag(0) + b"\x10" + varint(len(counts)))
    return field(4, b"\x08" + varint(sum(counts)) + b"\x19" + struct.pack("<d", total) + b"\x20" + zigzag(schema) + span +
                 field(12, deltas) + b"\x78" + varint(t_ms))


def series(labels, samples, histograms=()):
    """prometheus.TimeSeries: 1 labels {1 name, 2 value}, 2 samples, 4 histograms (made by histogram())."""
    body = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return field(1, body + b"".join(sample(t, v) for t, v in samples) + b"".join(histograms))


def snappy(data):
    """The snappy block format without any copy."""
    out = bytearray(varint(len(data)))
    for at in range(0, len(data), 65536):
        piece = data[at:at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process that takes remote write and answers the Prometheus API. `command(data, listen)` gives its argv."""

    def __init__(self, command, ready="/-/ready"):
        self.command, self.ready = command, ready
        self.root = tempfile.mkdtemp(prefix="galen-test-")
        self.data = os.path.join(self.root, "data")
        self.log = os.path.join(self.root, "log")
        self.port, self.process = free_port(), None

    def start(self, limit_s=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(self.data, f"127.0.0.1:{self.port}"), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.root)
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.process.args[0]} ended with {self.process.returncode}: {open(self.log).read()[-2000:]}")
            try:
                if self.request("GET", self.ready)[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"{self.process.args[0]} was not ready within {limit_s} s")

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def remove(self):
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def write(self, all_series):
        """all_series: [(labels, [(t_ms, value)])]. Returns the status and the text."""
        body = snappy(b"".join(series(l, s) for l, s in all_series))
        return self.request("POST", "/api/v1/write", body, {
            "Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})

    def api(self, path, **parameters):
        status, body = self.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        try:
            return status, json.loads(body)
        except ValueError:
            return status, {"status": "error", "error": body[:300].decode(errors="replace")}


def galen(binary, *more):
    binary = os.path.abspath(binary)
    return Server(lambda data, listen: [binary, "serve", "--data", data, "--listen", listen, "--watch=off", "--retention", "100y", *more])


def prometheus():
    def command(data, listen):
        config = os.path.join(os.path.dirname(data), "empty.yml")
        with open(config, "w") as f:
            f.write("global: {scrape_interval: 1h}\n")
        return ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={listen}",
                "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=error"]
    return Server(command)

#!/usr/bin/env python3
"""tests/pressure.py GALEN - requests made to hurt: each is refused with a reason, in bounded memory, and a neighbour who
asks small questions all the while is served.

    --only PATTERN

Decompression bombs, label floods, patterns and expressions that explode, 10 MB queries, answers nobody reads, thousands
of connections. The last line counts; exit status 1 when a check failed.
"""
import argparse
import gzip
import http.client
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse

from promapi import field, galen, series, snappy, varint

GROWTH_MIB = 400             # what one attack may add to the resident memory, sanitizers included
NEIGHBOUR_S = 5.0            # the slowest answer a neighbour may get, on two busy cores under sanitizers
MAX_SERIES = 20000
passed = failed = 0


def check(name, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAILED  {name}: {detail}", flush=True)


class Neighbour(threading.Thread):
    """Asks a small question ten times a second and remembers the slowest answer."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.slowest, self.wrong, self.asked, self.over = server, 0.0, [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            start = time.monotonic()
            try:
                status, answer = self.server.api("query", query="sum(neighbour)", time=self.server.t0 // 1000)
                if status != 200 or answer["data"]["result"][0]["value"][1] != "55":
                    self.wrong.append(f"{status} {str(answer)[:200]}")
            except (OSError, LookupError, http.client.HTTPException) as e:
                self.wrong.append(repr(e))
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - start)

    def stop(self):
        self.over.set()
        self.join()


def memory_mib(server):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{server.process.pid}/status").read())[1]) / 1024


def push(server, body, encoding="snappy", kind="application/x-protobuf"):
    return server.request("POST", "/api/v1/write", body, {"Content-Encoding": encoding, "Content-Type": kind,
                                                          "X-Prometheus-Remote-Write-Version": "0.1.0"})


def refused(name, answer, low=400, high=499, words=""):
    status, text = answer
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    check(name, low <= status <= high, f"answered with {status}: {text[:200]}")
    check(f"{name}: with a reason", len(text) > 10 and re.search(words, text, re.I), text[:200])


# ---- the attacks ----

def snappy_bombs(server):
    """Lengths that lie, and a few bytes that stand for gigabytes."""
    refused("a length of 4 GiB", push(server, varint((1 << 32) - 1) + b"\x00a"))
    refused("a length beyond 32 bits", push(server, varint(1 << 40) + b"\x00a"))
    refused("a length that lies", push(server, varint(5000) + b"\x00a"))
    # one literal byte, then copies of 64 bytes from one byte back: 21 bytes in 64 out
    copies = b"\x00a" + b"\xfe\x01\x00" * (16 << 20)
    refused("a gigabyte of copies", push(server, varint(1 + 64 * (16 << 20)) + copies), 400, 413)


def gzip_bombs(server):
    """Zeros that fold to nothing."""
    refused("a gzip of 1 GB", push(server, gzip.compress(bytes(1 << 30), 1), "gzip"), 400, 415)


def protobuf_nonsense(server):
    """Depth, unknown fields, endless varints, huge counts."""
    deep = b""
    for _ in range(20000):
        deep = field(1, deep)
    refused("deep nesting", push(server, snappy(deep)))
    refused("an endless varint", push(server, snappy(b"\xff" * 1000)))
    refused("a field that ends early", push(server, snappy(b"\x0a\xff\x01abc")))
    answer = push(server, snappy(field(99, b"x" * 100) * 10000))
    check("unknown fields are skipped", answer[0] in (200, 204, 400), str(answer))


def label_floods(server):
    """More labels, and longer ones, than a series may have; more series than the store may hold."""
    t = server.t0
    many = {"__name__": "m", **{f"l{i}": "x" for i in range(5000)}}
    refused("5000 labels", push(server, snappy(series(many, [(t, 1.0)]))))
    refused("a label of 1 MB", push(server, snappy(series({"__name__": "m", "l": "x" * (1 << 20)}, [(t, 1.0)]))))
    status = 204
    for part in range(40):
        body = b"".join(series({"__name__": "flood", "id": f"{part}-{i}", "instance": "evil:1"}, [(t, 1.0)]) for i in range(2000))
        status, text = push(server, snappy(body))
        if status // 100 != 2:
            refused("series beyond max_series", (status, text), 400, 429, "series|limit")
            break
    check("a flood of series ends", status // 100 == 4, status)
    status, text = push(server, snappy(series({"__name__": "neighbour", "n": "0"}, [(t + 1000, 0.0)])))
    check("series that were there before go on", status // 100 == 2, f"{status} {text[:200]}")


def pattern_bombs(server):
    """Regular expressions that other engines never finish."""
    for pattern in ("(a+)+$", "(.*)*x", "((a{1,100}){1,100}){1,100}", "(?:x{1000}){1000}", "a?" * 5000 + "a" * 5000):
        start = time.monotonic()
        status, answer = server.api("query", query=f'count({{__name__=~"{pattern}"}})', time=server.t0 // 1000)
        check(f"pattern {pattern[:30]}", status in (200, 400, 422) and time.monotonic() - start < 20, f"{status} {str(answer)[:200]}")
    status, answer = server.api("query", query='{__name__=~"("}')
    check("a broken pattern", status == 400 and len(answer["error"]) > 10, answer)


def query_bombs(server):
    """Long, deep, wide and endless expressions."""
    def ask(**parameters):
        return server.request("POST", "/api/v1/query_range" if "step" in parameters else "/api/v1/query",
                              urllib.parse.urlencode(parameters), {"Content-Type": "application/x-www-form-urlencoded"})
    t = server.t0 // 1000
    refused("a query of 10 MB", ask(query="1+" * (5 << 20) + "1"))
    refused("ten thousand parentheses", ask(query="(" * 10000 + "1" + ")" * 10000))
    refused("ten thousand signs", ask(query="-" * 100000 + "1"))
    refused("a string of 8 MB", ask(query='"' + "x" * (8 << 20) + '"'))
    refused("a hundred million steps", ask(query="1", start=0, end=10 ** 8, step=1), words="11,000|resolution|step")
    refused("a subquery without end", ask(query="sum_over_time(vector(1)[100y:1ms])", time=t))
    nested = "neighbour"
    for _ in range(12):
        nested = f"sum_over_time({nested}[1h:1s])"
    status, text = ask(query=nested, time=t)
    check("subqueries in subqueries", status in (200, 400, 422, 503), f"{status} {text[:200]}")
    wide = " or ".join(f'label_replace(neighbour, "x", "{i}", "", "")' for i in range(2000))
    status, text = ask(query=wide, time=t)
    check("two thousand operands", status in (200, 400, 422), f"{status} {text[:200]}")
    refused("an absurd match[]", server.request("GET", "/api/v1/series?match[]=" + "%7B" * 5000))


def unread_answers(server):
    """Fifty clients ask for much and do not read; a hundred go away in the middle."""
    query = urllib.parse.urlencode({"query": "neighbour", "start": server.t0 // 1000 - 3000, "end": server.t0 // 1000, "step": 1})
    request = f"GET /api/v1/query_range?{query} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
    silent = []
    for i in range(150):
        s = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(request * (20 if i < 50 else 1))
        if i < 50:
            silent.append(s)
        else:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
    time.sleep(2)
    for s in silent:
        s.close()
    check("unread answers", server.request("GET", "/-/healthy")[0] == 200)


def many_connections(server):
    """Two thousand connections at once, each with half a request."""
    held = []
    for _ in range(2000):
        try:
            s = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: loc")
            held.append(s)
        except OSError:
            break
    time.sleep(1)
    for s in held:
        s.close()
    check("many connections", server.request("GET", "/-/healthy")[0] == 200, f"{len(held)} were open")


def remote_read_bombs(server):
    """Remote read requests that ask for everything, or for nothing that makes sense."""
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Read-Version": "0.1.0"}
    refused("remote read of noise", server.request("POST", "/api/v1/read", b"\xff" * 1000, headers))
    refused("remote read, a length that lies", server.request("POST", "/api/v1/read", varint(1 << 31) + b"\x00a", headers))
    everything = field(1, b"\x08\x00\x10" + varint(1 << 62) + field(3, b"\x08\x03" + field(2, b"__name__") + field(3, b"")) * 3)
    status, _ = server.request("POST", "/api/v1/read", snappy(everything * 50), headers)
    check("remote read of everything, fifty times", status in (200, 400, 413, 422), status)


ATTACKS = [snappy_bombs, gzip_bombs, protobuf_nonsense, label_floods, pattern_bombs, query_bombs, unread_answers,
           many_connections, remote_read_bombs]


def start(binary):
    server = galen(binary)
    command = server.command
    config = f"{server.root}/galen.yml"
    with open(config, "w") as f:
        f.write(f"store:\n  max_series: {MAX_SERIES}\n")
    server.command = lambda data, listen: [*command(data, listen), "--config", config]
    server.start()
    server.t0 = int(time.time() - 60) * 1000
    server.write([({"__name__": "neighbour", "n": str(n)}, [(server.t0 - i * 15000, float(n)) for i in range(200, -1, -1)]) for n in range(11)])
    return server


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("galen")
    p.add_argument("--only", default="")
    o = p.parse_args()
    server = start(o.galen)
    try:
        for attack in ATTACKS:
            if not re.search(o.only, attack.__name__):
                continue
            before, begun, neighbour = memory_mib(server), time.monotonic(), Neighbour(server)
            attack(server)
            neighbour.stop()
            if server.process.poll() is not None:
                check(attack.__name__, False, f"galen ended with {server.process.returncode}: {open(server.log, errors='replace').read()[-1500:]}")
                break
            grown = memory_mib(server) - before
            check(f"{attack.__name__}: memory", grown < GROWTH_MIB, f"{grown:.0f} MiB more")
            check(f"{attack.__name__}: neighbour's answers", not neighbour.wrong, f"{len(neighbour.wrong)} of {neighbour.asked}: {neighbour.wrong[:2]}")
            check(f"{attack.__name__}: neighbour's patience", neighbour.slowest < NEIGHBOUR_S, f"{neighbour.slowest:.1f} s")
            print(f"{attack.__name__:18} {time.monotonic() - begun:5.1f} s, {grown:+5.0f} MiB, neighbour at most {neighbour.slowest * 1e3:.0f} ms", flush=True)
    finally:
        server.remove()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())

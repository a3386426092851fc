#!/usr/bin/env python3
"""tests/receive.py GALEN - what comes in is what can be asked: remote write 1.0 and 2.0, and pages in each format.

A request of 2.0 and a scraped page in protobuf are written by hand (promapi.py), pushed at the real binary and asked back:
samples, native histograms, exemplars, metadata, the Written fields, partial writes. Ends with "N passed, N failed"."""
import http.server
import json
import struct
import sys
import threading
import time

from promapi import field, galen, histogram, series, snappy, varint, zigzag

passed, failed = [], []
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


def check(name, ok, detail=""):
    (passed if ok else failed).append(name)
    print(f"{'ok   ' if ok else 'FAIL '} {name}{'' if ok else ': ' + str(detail)[:400]}", flush=True)


def double(number, v):
    return varint(number << 3 | 1) + struct.pack("<d", v)


def uint(number, v):
    return varint(number << 3) + varint(v)


def post(server, body, kind):
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    c.request("POST", "/api/v1/write", snappy(body), {"Content-Encoding": "snappy", "Content-Type": kind})
    r = c.getresponse()
    text = r.read().decode(errors="replace")
    c.close()
    return r.status, {k.lower(): v for k, v in r.getheaders()}, text


def value(server, expr):
    status, answer = server.api("query", query=expr)
    result = answer.get("data", {}).get("result") if status == 200 else None
    return float(result[0]["value"][1]) if result else None


def eventually(get, want, limit_s=20):
    end, got = time.monotonic() + limit_s, None
    while time.monotonic() < end:
        got = get()
        if got == want:
            break
        time.sleep(0.2)
    return got


def request2(now, extra=b""):
    """One series with a sample, a histogram, an exemplar, metadata; symbols in the order of the list."""
    symbols = ["", "__name__", "pushed_seconds", "job", "x", "how long it took", "seconds", "trace_id", "abc"]
    h = histogram(now, [1, 2], 4.5, schema=1)
    h = field(3, h[2:])  # the message of promapi's field 4, under 2.0's number (its length takes one byte)
    body = (field(1, bytes([1, 2, 3, 4])) + field(2, double(1, 7) + uint(2, now - 1000)) + h +
            field(4, field(1, bytes([7, 8])) + double(2, 0.5) + uint(3, now - 1000)) + field(5, uint(1, 3) + uint(3, 5) + uint(4, 6)))
    return b"".join(field(4, s.encode()) for s in symbols) + field(5, body) + extra


def push(server):
    now = int(time.time() * 1000)
    status, head, text = post(server, request2(now), V2)
    check("2.0: all of a request is kept", status == 204, (status, text))
    check("2.0: the answer says how much", [head.get(f"x-prometheus-remote-write-{k}-written") for k in ("samples", "histograms", "exemplars")] == ["1", "1", "1"], head)
    check("2.0: the histogram can be asked", value(server, "histogram_count(pushed_seconds)") == 3, value(server, "histogram_count(pushed_seconds)"))
    check("2.0: the sample before it, too", value(server, f"pushed_seconds @ {(now - 1000) / 1000}") == 7)
    status, answer = server.api("metadata", metric="pushed_seconds")
    told = answer.get("data", {}).get("pushed_seconds", [{}])[0]
    check("2.0: the metadata is shown", told == {"type": "histogram", "help": "how long it took", "unit": "seconds"}, answer)
    status, answer = server.api("query_exemplars", query="pushed_seconds", start=(now - 60000) / 1000, end=(now + 1000) / 1000)
    found = answer.get("data", [])
    check("2.0: the exemplar is found", bool(found) and found[0]["exemplars"][0]["labels"] == {"trace_id": "abc"}, answer)
    bad = field(5, field(1, bytes([1, 99])) + field(2, double(1, 1) + uint(2, now)))
    status, head, text = post(server, request2(now + 5000, bad), V2)
    check("2.0: a partial write is 400 and keeps the rest", status == 400 and head.get("x-prometheus-remote-write-samples-written") == "1" and "symbols" in text, (status, head, text))
    exemplar = field(3, field(1, field(1, b"trace_id") + field(2, b"xyz")) + double(2, 1) + uint(3, now))
    one = series({"__name__": "old_total", "job": "x"}, [(now, 5)], [exemplar, histogram(now + 1, [1], 1)])
    status, _, text = post(server, one + field(3, uint(1, 1) + field(2, b"old_total") + field(4, b"counts")), "application/x-protobuf")
    check("1.0: histograms, exemplars and metadata are kept", status == 204, (status, text))
    check("1.0: the histogram can be asked", value(server, "histogram_count(old_total)") == 1)
    status, answer = server.api("targets/metadata", metric="old_total")
    check("1.0: the metadata is shown", any(m.get("help") == "counts" for m in answer.get("data", [])), answer)
    check("another type is 415", post(server, b"", "application/json")[0] == 415)


def families():
    label = field(1, field(1, b"path") + field(2, b"/"))
    stamp = uint(1, int(time.time()))
    exemplar = field(1, field(1, b"trace_id") + field(2, b"scraped")) + double(2, 0.2)
    native = (uint(1, 3) + double(2, 1.5) + field(3, uint(1, 2) + double(2, 1) + field(3, exemplar)) + varint(5 << 3) + zigzag(3) + double(6, 1e-9) +
              field(12, uint(2, 1)) + field(13, zigzag(3)) + field(15, stamp))
    for name, kind, metric in ((b"scraped_total", 0, field(3, double(1, 5))), (b"scraped_seconds", 4, field(7, native))):
        body = field(1, name) + field(2, b"help") + uint(3, kind) + field(4, label + metric)
        yield varint(len(body)) + body


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = []

    def do_GET(self):
        Page.asked.append(self.headers.get("Accept", ""))
        body = b"".join(families())
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def scrape(binary):
    target = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=target.serve_forever, daemon=True).start()
    server = galen(binary, "--prometheus.config", "prometheus.yml")
    with open(server.root + "/prometheus.yml", "w") as f:
        f.write("global: {scrape_interval: 500ms, scrape_timeout: 500ms, scrape_native_histograms: true}\nscrape_configs:\n"
                f"- {{job_name: native, static_configs: [{{targets: ['127.0.0.1:{target.server_port}']}}]}}\n"
                f"- {{job_name: both, always_scrape_classic_histograms: true, static_configs: [{{targets: ['127.0.0.1:{target.server_port}']}}]}}\n"
                f"- {{job_name: classic, scrape_native_histograms: false, static_configs: [{{targets: ['127.0.0.1:{target.server_port}']}}]}}\n")
    server.start()
    try:
        check("protobuf: all targets are up", eventually(lambda: value(server, "sum(up)"), 3) == 3)
        check("protobuf: a counter", value(server, 'scraped_total{job="native",path="/"}') == 5)
        check("protobuf: a native histogram", value(server, 'histogram_count(scraped_seconds{job="native"})') == 3)
        for job, want in (("native", None), ("both", 2), ("classic", 2)):
            check(f"protobuf: classic buckets of job {job}", value(server, f'scraped_seconds_bucket{{job="{job}",le="1.0"}}') == want)
        check("protobuf: no native histogram where it is not wanted", value(server, 'histogram_count(scraped_seconds{job="classic"})') is None)
        check("protobuf is asked for first", any(a.startswith("application/vnd.google.protobuf") for a in Page.asked), Page.asked[:3])
        status, answer = server.api("query_exemplars", query="scraped_seconds", start=time.time() - 60, end=time.time() + 1)
        check("protobuf: the exemplar is found", '"scraped"' in json.dumps(answer), answer)
    finally:
        server.remove()
        target.shutdown()


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    server = galen(sys.argv[1]).start()
    try:
        push(server)
    finally:
        server.remove()
    scrape(sys.argv[1])
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

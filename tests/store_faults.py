#!/usr/bin/env python3
"""tests/store_faults.py GALEN - the store on bad media, full disks, wrong clocks and in tight rooms.

    --only PATTERN --seed N --flips 40

Each fault is done to a real galen with known samples in it. Afterwards every answer must be one of two: exactly what
was acknowledged, or an error that names what is damaged; nothing acknowledged outside the damage may be missing, and no
value may be one that was never written. Faults that need root, a tmpfs, a memory cgroup or libfaketime say so where
they cannot be had and count as skipped. The last line counts; exit status 1 when one failed.
"""
import argparse
import glob
import http.client
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from promapi import Server, galen

SERIES = 40
STEP_MS = 15000
SCRIPT_SEED = 1


class Skip(Exception):
    pass


class Failed(Exception):
    pass


def check(true, what):
    if not true:
        raise Failed(what)


# ---- samples that tell by themselves whether they are right ----

def value_of(n, t_ms):
    return float(n * 1000003 + t_ms // STEP_MS % 999983) / (4 if n % 2 else 1)


def labels_of(n):
    return {"__name__": "fault", "n": str(n)}


class Known:
    """A galen and what it has acknowledged. Times lie in the last hours, so that windows become complete."""

    def __init__(self, binary, server=None, before_h=12):
        self.binary = binary
        self.server = server or galen(binary)
        self.first = self.next = (int(time.time()) - before_h * 3600) // 7200 * 7200 * 1000
        self.acknowledged = []           # times at which all series have a sample
        self.lengths = {}                # time -> {segment: length} after it was acknowledged

    def write(self, steps, expect=True):
        """Steps of all series, a request a step. Returns the first status that was no success, or 204."""
        for _ in range(steps):
            t = self.next
            status, _ = self.server.write([(labels_of(n), [(t, value_of(n, t))]) for n in range(SERIES)])
            if status // 100 != 2:
                check(not expect, f"a write was answered with {status}")
                return status
            self.acknowledged.append(t)
            self.next += STEP_MS
            self.lengths[t] = {p: os.path.getsize(p) for p in self.segments()}
        return 204

    def segments(self):
        return sorted(p for p in glob.glob(f"{self.server.data}/store/wal/*") if re.fullmatch(r"\d+", os.path.basename(p)))

    def blocks(self):
        return sorted(p for p in glob.glob(f"{self.server.data}/store/**/*", recursive=True)
                      if os.path.isfile(p) and "/blocks" in p and not p.endswith(".tmp"))

    def read(self, n):
        """{t_ms: value} of series n, or the error's text."""
        end = self.next // 1000 + 60
        status, answer = self.server.api("query", query=f'fault{{n="{n}"}}[{end - self.first // 1000 + 60}s]', time=end)
        if status != 200:
            return answer.get("error", "no reason")
        result = answer["data"]["result"]
        return {round(float(t) * 1000): float(v) for t, v in (result[0]["values"] if result else [])}

    def verify(self, required, may_fail=False):
        """Every value is right; `required` times are there; errors only where `may_fail`, and then with a reason. Returns
        how many series answered."""
        answered = 0
        for n in range(SERIES):
            got = self.read(n)
            if isinstance(got, str):
                check(may_fail, f"series {n} cannot be read: {got}")
                check(len(got) > 10, "an error without a reason")
                continue
            answered += 1
            wrong = [t for t, v in got.items() if v != value_of(n, t)]
            check(not wrong, f"series {n} has a value that was never written, at {wrong[:1]}")
            missing = [t for t in required if t not in got]
            check(not missing, f"series {n} lacks {len(missing)} of {len(required)} acknowledged samples, first {missing[:1]}")
        return answered

    def crash(self):
        self.server.stop(signal.SIGKILL)

    def said(self, *patterns):
        text = open(self.server.log, errors="replace").read()
        return any(re.search(p, text, re.I) for p in patterns)


def flip(path, at, bit):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1 << bit]))


# ---- damaged files ----

def torn_log(o, rng):
    """The log is cut anywhere: all batches before the cut are there."""
    for _ in range(6):
        k = Known(o.galen)
        try:
            k.server.start()
            k.write(40)
            k.crash()
            path = k.segments()[-1]
            cut = rng.randrange(16, os.path.getsize(path))
            os.truncate(path, cut)
            k.server.start()
            k.verify([t for t in k.acknowledged if k.lengths[t].get(path, 0) <= cut])
            check(k.write(3) == 204, "no writes after the repair")
            k.verify(k.acknowledged[-3:])
        finally:
            k.server.remove()


def flipped_log(o, rng):
    """One bit of the log changes: batches before it are there, nothing wrong is read, and it is told."""
    k = Known(o.galen)
    keep = tempfile.mkdtemp()
    try:
        k.server.start()
        k.write(40)
        k.crash()
        path = k.segments()[-1]
        shutil.copy(path, keep)
        for _ in range(o.flips // 4):
            at = rng.randrange(os.path.getsize(path))
            flip(path, at, rng.randrange(8))
            k.server.start()
            if at >= 16:
                k.verify([t for t in k.acknowledged if k.lengths[t].get(path, 0) <= at])
            else:
                k.verify([])
            k.crash()
            for p in k.segments():
                os.remove(p)
            shutil.copy(os.path.join(keep, os.path.basename(path)), path)
        check(k.said(r"damage|corrupt|cut"), "the damage is not told")
    finally:
        k.server.remove()
        shutil.rmtree(keep)


def flipped_blocks(o, rng):
    """One bit of a block file changes: galen starts, never answers a wrong value; what it cannot read it names."""
    k = Known(o.galen)
    keep = tempfile.mkdtemp()
    try:
        k.server.start()
        k.write(700)
        k.server.request("POST", "/-/flush")
        k.write(10)
        k.server.stop()
        store = f"{k.server.data}/store"
        shutil.copytree(store, f"{keep}/store")
        files = k.blocks()
        check(files, "a flush made no block")
        told = 0
        for i in range(o.flips):
            path = rng.choice(files)
            size = os.path.getsize(path)
            at = size - 1 - rng.randrange(min(size, 400)) if i % 4 == 0 else rng.randrange(size)
            flip(path, at, rng.randrange(8))
            k.server.start()
            answered = k.verify(k.acknowledged[-10:], may_fail=True)
            told += answered < SERIES
            k.server.stop()
            shutil.rmtree(store)
            shutil.copytree(f"{keep}/store", store)
        check(told > 0 or k.said(r"damage|corrupt|quarantin"), "no flip was ever noticed")
        k.server.start()
        k.verify(k.acknowledged)
    finally:
        k.server.remove()
        shutil.rmtree(keep)


def foreign_files(o, rng):
    """Empty, cut and foreign files in the store's folders are told and left alone."""
    k = Known(o.galen)
    try:
        k.server.start()
        k.write(700)
        k.server.request("POST", "/-/flush")
        k.server.stop()
        block = k.blocks()[0]
        folder = os.path.dirname(block)
        open(f"{folder}/00009998.block", "wb").close()
        with open(f"{folder}/00009999.block", "wb") as f:
            f.write(rng.randbytes(5000))
        shutil.copy(block, f"{folder}/00009997.block")
        os.truncate(f"{folder}/00009997.block", os.path.getsize(block) // 2)
        open(f"{folder}/README.txt", "w").close()
        open(f"{k.server.data}/store/wal/notes", "w").close()
        k.server.start()
        k.verify(k.acknowledged)
        check(k.said("0000999[789]"), "the damaged files are not named in the log")
    finally:
        k.server.remove()


# ---- disks ----

def small_disk(binary, megabytes):
    """A galen whose data lies on a tmpfs of its own."""
    server = galen(binary)
    os.makedirs(server.data, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", server.data], capture_output=True, text=True)
    if made.returncode:
        server.remove()
        raise Skip("no tmpfs can be mounted (root is needed)")
    return server


def unmount(server):
    server.stop(signal.SIGKILL)
    subprocess.run(["umount", server.data], check=False)
    server.remove()


def full_disk(o, rng):
    """The disk fills up while samples come: writes are refused, nothing acknowledged is lost, space heals it."""
    server = small_disk(o.galen, 40)
    try:
        k = Known(o.galen, server)
        server.start()
        k.write(20)
        filler = f"{server.data}/filler"
        with open(filler, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
        status = 204
        for _ in range(400):
            status = k.write(20, expect=False)
            if status != 204:
                break
        check(status == 503, f"on a full disk writes are answered with {status}, not 503")
        k.verify(k.acknowledged)
        check(server.request("POST", "/-/flush")[0] in (200, 204, 500, 503), "a flush on a full disk has no answer")
        k.verify(k.acknowledged)
        os.remove(filler)
        check(k.write(20, expect=False) == 204, "writes do not come back when there is space again")
        k.crash()
        server.start()
        k.verify(k.acknowledged)
    finally:
        unmount(server)


def readonly_disk(o, rng):
    """The file system finds an error and turns read-only: writes are refused, queries go on; after a repair all that was
    synced is there."""
    server = galen(o.galen)
    image = f"{server.root}/disk"
    os.makedirs(server.data)

    def run(*command):
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode > 1:                     # 1: e2fsck has mended something
            raise Skip(f"{' '.join(command[:2])}: {made.stderr.strip().splitlines()[0] if made.stderr.strip() else made.returncode}")
        return made.stdout
    try:
        with open(image, "wb") as f:
            f.truncate(48 << 20)
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop,errors=remount-ro", image, server.data)
        device = re.search(rf"^/dev/(\S+) {server.data} ", open("/proc/mounts").read(), re.M)
        trigger = f"/sys/fs/ext4/{device[1]}/trigger_fs_error"
        if not os.path.exists(trigger):
            raise Skip("this kernel cannot be told to find an error")
        k = Known(o.galen, server)
        server.start()
        k.write(20)
        time.sleep(2.5)                             # store.wal.fsync is a second
        with open(trigger, "w") as f:
            f.write("test")
        check(k.write(1, expect=False) == 503, "a read-only disk takes writes")
        k.verify(k.acknowledged)
        check(server.request("GET", "/-/healthy")[0] == 200, "not healthy")
        k.crash()
        run("umount", server.data)
        run("e2fsck", "-fy", image)
        run("mount", "-o", "loop", image, server.data)
        server.start()
        k.verify(k.acknowledged)
        k.write(5)
    finally:
        unmount(server)


# ---- clocks, neighbours, tight rooms ----

def clock_jumps(o, rng):
    """The clock goes back two days, then a month ahead, and home again: samples stay, writes go on."""
    library = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
    if not library:
        raise Skip("libfaketime is not installed")
    binary = os.path.abspath(o.galen)
    if b"__asan_init" in open(binary, "rb").read():
        raise Skip("libfaketime and the address sanitizer do not go together")
    folder = tempfile.mkdtemp()
    offset = f"{folder}/offset"

    def at(text):
        with open(f"{offset}.new", "w") as f:
            f.write(text + "\n")
        os.rename(f"{offset}.new", offset)
    at("+0d")
    server = Server(lambda data, listen: ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={offset}", "FAKETIME_NO_CACHE=1",
                                          "DONT_FAKE_MONOTONIC=1", binary, "serve", "--data", data, "--listen", listen, "--watch=off"])
    k = Known(o.galen, server, before_h=6)
    try:
        server.start()
        k.write(30)
        for jump in ("-2d", "+30d", "-1h", "+0d"):
            at(jump)
            if jump == "-2d":
                check(k.write(3, expect=False) in (204, 400), "a write while the clock is back breaks something")
            time.sleep(0.3)
            check(server.request("GET", "/-/healthy")[0] == 200, f"not healthy with the clock at {jump}")
        k.verify(k.acknowledged)
        k.write(5)
        k.crash()
        server.start()
        k.verify(k.acknowledged)
    finally:
        server.remove()
        shutil.rmtree(folder)


def two_on_one(o, rng):
    """A second galen on the same folder ends with exit status 1 and a sentence; the first does not notice."""
    k = Known(o.galen)
    try:
        k.server.start()
        k.write(5)
        second = subprocess.run([os.path.abspath(o.galen), "serve", "--data", k.server.data, "--listen", "127.0.0.1:0", "--watch=off"],
                                capture_output=True, text=True, timeout=60)
        check(second.returncode == 1, f"exit status {second.returncode}")
        check("in use" in second.stderr, f"said {second.stderr[:200]}")
        k.write(5)
        k.verify(k.acknowledged)
    finally:
        k.server.remove()


def stopped_a_while(o, rng):
    """SIGSTOP and SIGCONT: what was sent meanwhile is answered, nothing is lost."""
    k = Known(o.galen)
    try:
        k.server.start()
        k.write(5)
        k.server.process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        k.server.process.send_signal(signal.SIGCONT)
        k.write(5)
        k.verify(k.acknowledged)
    finally:
        k.server.remove()


def few_descriptors(o, rng):
    """More connections than file descriptors: refused or waiting, and all is well when they go."""
    binary = os.path.abspath(o.galen)
    server = Server(lambda data, listen: ["prlimit", "--nofile=64", binary, "serve", "--data", data, "--listen", listen, "--watch=off"])
    k = Known(o.galen, server)
    open_ones = []
    try:
        server.start()
        k.write(5)
        for _ in range(150):
            c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
            try:
                c.connect()
            except OSError:
                continue
            open_ones.append(c)
        time.sleep(1)
        for c in open_ones:
            c.close()
        time.sleep(1)
        k.write(5)
        server.request("POST", "/-/flush")
        k.verify(k.acknowledged)
        k.crash()
        server.start()
        k.verify(k.acknowledged)
    finally:
        server.remove()


def memory_group(name):
    """(folder, file of the limit) of a new memory cgroup."""
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        folder = f"{parent}/{name}"
        try:
            os.mkdir(folder)
        except OSError:
            continue
        if os.path.exists(f"{folder}/{limit}"):
            return folder, f"{folder}/{limit}"
        os.rmdir(folder)
    raise Skip("no memory cgroup can be made")


def replay_in_memory(o, rng):
    """After kill -9 the log is read again in no more memory than running needed (a cgroup with 5 % on top)."""
    folder, limit = memory_group(f"galen-test-{os.getpid()}")
    server = galen(o.galen)
    try:
        server.start()
        t0 = (int(time.time()) - 3600) * 1000
        for step in range(30):
            for part in range(5):
                status, _ = server.write([({"__name__": "many", "n": str(n), "instance": f"host-{n % 50}:9100", "job": "node"},
                                           [(t0 + step * STEP_MS, rng.random() * n)]) for n in range(part * 4000, part * 4000 + 4000)])
                check(status // 100 == 2, f"a write was answered with {status}")
        peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{server.process.pid}/status").read())[1]) * 1024
        server.stop(signal.SIGKILL)
        with open(limit, "w") as f:
            f.write(str(int(peak * 1.05)))

        command = server.command
        server.command = lambda data, listen: ["sh", "-c", f"echo $$ > {folder}/cgroup.procs && exec \"$@\"", "sh", *command(data, listen)]
        server.start()
        _, answer = server.api("query", query="count(many)", time=t0 // 1000 + 29 * 15 + 1)
        check(answer["data"]["result"][0]["value"][1] == "20000", f"after the replay: {answer}")
    finally:
        server.remove()
        for _ in range(20):
            try:
                os.rmdir(folder)
                break
            except OSError:
                time.sleep(0.1)


FAULTS = [torn_log, flipped_log, flipped_blocks, foreign_files, full_disk, readonly_disk, clock_jumps, two_on_one,
          stopped_a_while, few_descriptors, replay_in_memory]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("galen")
    p.add_argument("--only", default="")
    p.add_argument("--seed", type=int, default=SCRIPT_SEED)
    p.add_argument("--flips", type=int, default=40)
    o = p.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    passed = failed = skipped = 0
    for fault in FAULTS:
        if not re.search(o.only, fault.__name__):
            continue
        start, about = time.monotonic(), fault.__doc__.split("\n")[0]
        try:
            fault(o, random.Random(o.seed))
            passed, word = passed + 1, "ok"
        except Skip as why:
            skipped, word = skipped + 1, f"skipped: {why}"
        except (Failed, SystemExit, OSError) as why:
            failed, word = failed + 1, f"FAILED: {why}"
        print(f"{fault.__name__:17} {time.monotonic() - start:5.1f} s  {word}\n                           {about}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())

#!/usr/bin/env python3
"""Write a small but real llama-architecture GGUF model, with the Python standard library only.

Nothing is downloaded: the transformer layers get random weights (Q8_0), and the embedding and output
matrices encode a word bigram table of the text below, so llama.cpp does every matrix product of a real
model and what comes out reads like words, ends sentences and emits end-of-sequence by itself.
(--mode random gives pure noise instead.)

    make-tiny-gguf.py OUT.gguf [--preset tiny|small|medium|large] [--mode bigram|random] [--seed N] [--corpus FILE]
"""
import argparse, math, random, re, struct, sys

PRESETS = {  # d_model, layers, heads, kv heads, d_ff, context
    "tiny": (256, 4, 8, 4, 704, 4096),        # ~4 M parameters, ~6 MB
    "small": (512, 8, 8, 4, 1408, 4096),      # ~25 M, ~28 MB
    "medium": (1024, 12, 16, 8, 2816, 4096),  # ~145 M, ~155 MB
    "large": (2048, 16, 32, 8, 5632, 4096),   # ~0.73 G, ~775 MB
}

CORPUS = """
The gateway sends each request to the server with the shortest queue.
When a server stops answering, the gateway opens the breaker and sends the request to another server.
A stream of tokens flows from the model to the client, one small piece at a time.
The first token takes the longest time, because the model must read the whole prompt.
After the first token the model writes one token after another, and the time between tokens stays short.
If the queue grows, the time to the first token grows too.
If the cache is full, the server must wait or drop old work.
A good gateway measures the time to the first token and the time between tokens.
A good gateway retries a failed request only when no token was sent to the client.
The operator reads the metrics and finds the slow server.
The operator asks why the server is slow, and the metrics show a full cache.
The slow server gets less traffic, and the fast server gets more traffic.
When the slow server is well again, the gateway closes the breaker.
A client that sends too many tokens must wait for the next minute.
The model reads the prompt, keeps it in the cache, and writes the answer.
The answer ends when the model writes the end token or when the limit is reached.
Each answer is logged with the name of the client and the number of tokens.
A hidden failure is worse than a loud failure, so the gateway checks each server with a small request.
The watcher sees the failure, the doctor finds the cause, and the healer restarts the server.
The healer never restarts all servers at the same time.
"""


def pieces(words):
    """vocabulary: specials, 256 bytes, single characters, and every prefix of every word (SPM needs the steps)"""
    toks, seen = [], set()

    def add(t, score, typ):
        if t not in seen:
            seen.add(t)
            toks.append((t, score, typ))

    add("<unk>", 0.0, 2)
    add("<s>", 0.0, 3)
    add("</s>", 0.0, 3)
    for b in range(256):
        add("<0x%02X>" % b, 0.0, 6)
    for w in sorted(words):
        if w[0].isalnum():
            w = "\u2581" + w
            for n in range(2, len(w) + 1):
                add(w[:n], -1000.0 + n, 1)
    add("\u2581", -1000.0, 1)
    for c in range(33, 127):
        add(chr(c), -1001.0, 1)
    return toks


def q8_0(rng, rows, cols, std):
    """random Q8_0 tensor: blocks of one fp16 scale and 32 signed bytes (uniform bytes have std 73.9)"""
    assert cols % 32 == 0
    nb = rows * cols // 32
    scale = struct.pack("<e", std / 73.9)
    out = bytearray(34 * nb)
    out[0::34] = scale[0:1] * nb
    out[1::34] = scale[1:2] * nb
    for j in range(32):
        out[2 + j::34] = rng.randbytes(nb)
    return bytes(out)


def f16(rows):
    return b"".join(struct.pack("<%de" % len(r), *r) for r in rows)


def f32(v):
    return struct.pack("<%df" % len(v), *v)


def gstr(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, typ, val):
    fmt = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
    if typ == "str":
        return gstr(key) + struct.pack("<I", 8) + gstr(val)
    if typ.startswith("["):
        el = typ[1:]
        if el == "str":
            return gstr(key) + struct.pack("<IIQ", 9, 8, len(val)) + b"".join(map(gstr, val))
        code, f = fmt[el]
        return gstr(key) + struct.pack("<IIQ", 9, code, len(val)) + b"".join(struct.pack(f, v) for v in val)
    code, f = fmt[typ]
    return gstr(key) + struct.pack("<I", code) + struct.pack(f, val)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("--preset", choices=PRESETS, default="tiny")
    ap.add_argument("--mode", choices=("bigram", "random"), default="bigram")
    ap.add_argument("--corpus", help="text to take the words and word pairs from (default: a few built-in sentences)")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--eos", type=float, default=0.12, help="chance to stop after a full stop")
    a = ap.parse_args()
    d, layers, heads, kvh, ff, ctx = PRESETS[a.preset]
    rng = random.Random(a.seed)
    text = open(a.corpus, encoding="utf-8").read() if a.corpus else CORPUS
    sents = [re.findall(r"[A-Za-z0-9']+|[.,;:!?]", s) for s in re.split(r"\n+|(?<=[.!?])\s", text)]
    sents = [s for s in sents if s]
    toks = pieces({w for s in sents for w in s})
    V = len(toks)
    idx = {t[0]: i for i, t in enumerate(toks)}
    tid = lambda w: idx["\u2581" + w] if w[0].isalnum() else idx[w]

    # word pairs; a sentence may follow a full stop, the end of the prompt (":"), a newline or the start
    pairs = {}
    starts = [s[0] for s in sents]
    for s in sents:
        ids = [tid(w) for w in s]
        for x, y in zip(ids, ids[1:]):
            pairs.setdefault(x, {}).setdefault(y, 0)
            pairs[x][y] += 1
    stop = idx["."]
    for src in (stop, idx[":"], idx["<0x0A>"], 1, idx["?"], idx["!"]):
        for w in starts:
            pairs.setdefault(src, {}).setdefault(tid(w), 0)
            pairs[src][tid(w)] += 1
    pairs[stop][2] = max(1, len(starts)) * a.eos / (1 - a.eos)

    emb = [[1.0 if rng.getrandbits(1) else -1.0 for _ in range(d)] for _ in range(V)]
    if a.mode == "bigram":
        beta = 14.0
        out = [[0.0] * d for _ in range(V)]
        for x, nxt in pairs.items():
            tot = sum(nxt.values())
            ex = emb[x]
            for y, n in nxt.items():
                g = (beta + math.log(n / tot)) / d
                oy = out[y]
                for k in range(d):
                    oy[k] += g * ex[k]
    else:
        s = 1 / math.sqrt(d)
        out = [[rng.gauss(0, s * 2) for _ in range(d)] for _ in range(V)]

    hd = d // heads
    sd, sf = 1 / math.sqrt(d), 1 / math.sqrt(ff)
    g = 0.05 if a.mode == "bigram" else 0.5  # how much the random layers move the residual stream
    tensors = [("token_embd.weight", (d, V), 1, f16(emb)), ("output_norm.weight", (d,), 0, f32([1.0] * d)),
               ("output.weight", (d, V), 1, f16(out))]
    for i in range(layers):
        p = "blk.%d." % i
        q = lambda name, rows, cols, std: tensors.append((p + name, (cols, rows), 8, q8_0(rng, rows, cols, std)))
        tensors.append((p + "attn_norm.weight", (d,), 0, f32([1.0] * d)))
        q("attn_q.weight", d, d, sd)
        q("attn_k.weight", kvh * hd, d, sd)
        q("attn_v.weight", kvh * hd, d, sd)
        q("attn_output.weight", d, d, sd * g)
        tensors.append((p + "ffn_norm.weight", (d,), 0, f32([1.0] * d)))
        q("ffn_gate.weight", ff, d, sd)
        q("ffn_up.weight", ff, d, sd)
        q("ffn_down.weight", d, ff, sf * g)

    template = ("{% for m in messages %}{{ m['role'][0] | upper }}{{ m['role'][1:] }}: {{ m['content'] }}\n{% endfor %}"
                "{% if add_generation_prompt %}Assistant:{% endif %}")
    meta = [
        kv("general.architecture", "str", "llama"),
        kv("general.name", "str", "galen-tiny-" + a.preset),
        kv("general.file_type", "u32", 7),
        kv("general.alignment", "u32", 32),
        kv("llama.context_length", "u32", ctx),
        kv("llama.embedding_length", "u32", d),
        kv("llama.block_count", "u32", layers),
        kv("llama.feed_forward_length", "u32", ff),
        kv("llama.attention.head_count", "u32", heads),
        kv("llama.attention.head_count_kv", "u32", kvh),
        kv("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
        kv("llama.rope.dimension_count", "u32", hd),
        kv("llama.rope.freq_base", "f32", 10000.0),
        kv("llama.vocab_size", "u32", V),
        kv("tokenizer.ggml.model", "str", "llama"),
        kv("tokenizer.ggml.tokens", "[str", [t[0] for t in toks]),
        kv("tokenizer.ggml.scores", "[f32", [t[1] for t in toks]),
        kv("tokenizer.ggml.token_type", "[i32", [t[2] for t in toks]),
        kv("tokenizer.ggml.bos_token_id", "u32", 1),
        kv("tokenizer.ggml.eos_token_id", "u32", 2),
        kv("tokenizer.ggml.unknown_token_id", "u32", 0),
        kv("tokenizer.ggml.add_bos_token", "bool", True),
        kv("tokenizer.ggml.add_eos_token", "bool", False),
        kv("tokenizer.ggml.add_space_prefix", "bool", True),
        kv("tokenizer.chat_template", "str", template),
    ]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta)) + b"".join(meta)
    off, infos, params = 0, [], 0
    for name, dims, typ, data in tensors:
        infos.append(gstr(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
                     + struct.pack("<IQ", typ, off))
        off += len(data) + (-len(data)) % 32
        params += math.prod(dims)
    head += b"".join(infos)
    with open(a.out, "wb") as f:
        f.write(head + b"\0" * ((-len(head)) % 32))
        for _, _, _, data in tensors:
            f.write(data + b"\0" * ((-len(data)) % 32))
        size = f.tell()
    print("%s: %.1f M parameters, vocabulary %d, %.1f MB" % (a.out, params / 1e6, V, size / 1e6), file=sys.stderr)


main()

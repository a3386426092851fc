"""demo/traffic.py - the users of the demo's LLM service: steady chats, and bursts of far too many long ones.

Each user is a thread that asks, reads the streamed answer to its end and asks again. A request is lost when it got no
complete answer: refused, reset, an error status, or still nothing after PATIENCE_S. Users do not give up: they try
again a second later, as real ones do, and each try counts.
"""
import http.client
import json
import threading
import time
import urllib.request

PATIENCE_S = 120
RETRY_S = 1.0
QUESTIONS = ["Why is the server slow?", "What does the gateway do?", "When does the answer end?",
             "Who reads the metrics?", "How does the healer work?"]
# The engine is on loopback: a proxy named in the environment must not come between.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def chat(url, model, question, max_tokens, long=False, hang_up=lambda: False):
    """One streamed chat completion, read to its end. Returns the number of pieces; raises OSError when lost, or when
    hang_up() says so after a piece."""
    body = {"model": model, "stream": True, "max_tokens": max_tokens, "ignore_eos": long,
            "messages": [{"role": "user", "content": question}]}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    pieces = 0
    with OPENER.open(request, timeout=PATIENCE_S) as answer:
        for line in answer:
            if line.startswith(b"data: [DONE]"):
                return pieces
            if line.startswith(b'data: {"error"'):
                raise OSError(line.decode(errors="replace"))
            if hang_up():
                raise OSError("hung up")
            pieces += line.startswith(b"data: ")
    raise OSError("the stream ended early")


class Traffic:
    """`answered` and `lost` only grow; read them before and after to know what a fault cost."""

    def __init__(self, url, model):
        self.url, self.model = url, model
        self.answered = self.lost = 0
        self._last_start_of_answered = 0.0      # when the newest answered request had been asked
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def steady(self, streams=3, max_tokens=48):
        for n in range(streams):
            self._user(QUESTIONS[n % len(QUESTIONS)], max_tokens, self._stop, False)

    def burst(self, seconds, streams=20, max_tokens=500):
        """Many long answers at once. Returns (event that ends it, time when it should be set); whoever is still
        served after that hangs up at the next token, so that the queue is gone at once."""
        stop = threading.Event()
        for n in range(streams):
            self._user(QUESTIONS[n % len(QUESTIONS)], max_tokens, stop, True)
        return stop, time.time() + seconds

    def stop(self):
        self._stop.set()

    def served_since(self, t):
        """Has a request that was asked after `t` been answered in full?"""
        return self._last_start_of_answered > t

    def _user(self, question, max_tokens, stop, long):
        def over():
            return stop.is_set() or self._stop.is_set()

        def live():
            while not over():
                asked = time.time()
                try:
                    chat(self.url, self.model, question, max_tokens, long, over)
                except (OSError, ValueError, http.client.HTTPException):
                    if not over():              # what we ended ourselves is not lost
                        with self._lock:
                            self.lost += 1
                        stop.wait(RETRY_S)
                else:
                    with self._lock:
                        self.answered += 1
                        self._last_start_of_answered = max(self._last_start_of_answered, asked)
        threading.Thread(target=live, daemon=True).start()

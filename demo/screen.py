"""demo/screen.py - what the demo says while it runs, and the table at its end.

On a terminal: colours, and a last line that tells how long we have been waiting for what. In a pipe or a log: plain
lines only, each one an event that stays true.
"""
import sys
import time

COLOURS = {"good": "32", "bad": "31", "dim": "2", "strong": "1", "warn": "33"}


class Screen:
    def __init__(self, out=sys.stdout):
        self.out = out
        self.tty = out.isatty()
        self.waiting = False

    def paint(self, text, colour):
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self.tty and colour else text

    def line(self, text="", colour=None):
        self._clear()
        self.out.write(self.paint(text, colour) + "\n")
        self.out.flush()

    def step(self, since, text, colour=None, at=None):
        """One thing that happened (now, or `at`), with the seconds since the fault."""
        self.line(f"  {(at or time.time()) - since:+7.1f} s  {text}", colour)

    def wait(self, text):
        """What we are waiting for; overwritten by the next line. Nothing outside a terminal."""
        if not self.tty:
            return
        self._clear()
        self.out.write(self.paint("  " + text, "dim"))
        self.out.flush()
        self.waiting = True

    def _clear(self):
        if self.waiting:
            self.out.write("\r\x1b[K")
            self.waiting = False

    def table(self, head, rows):
        """Columns as wide as their widest cell; numbers (and what looks like them) to the right."""
        widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]

        def numeric(cell):
            return str(cell)[:1].isdigit() or cell == "-"

        for n, row in enumerate([head, *rows]):
            cells = [str(c).rjust(w) if n and numeric(c) else str(c).ljust(w) for c, w in zip(row, widths)]
            self.line("  ".join(cells).rstrip(), "strong" if n == 0 else None)
            if n == 0:
                self.line("  ".join("-" * w for w in widths), "dim")

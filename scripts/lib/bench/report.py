"""Tables in the terminal and in docs/BENCHMARKS.md."""

import re
import statistics
import sys
import time
from dataclasses import dataclass, field

START = time.monotonic()


def progress(text):
    minutes, seconds = divmod(int(time.monotonic() - START), 60)
    print(f"[{minutes:02}:{seconds:02}] {text}", file=sys.stderr, flush=True)


@dataclass
class Table:
    """Rows of text under a title, and what a reader has to know about them."""
    name: str       # of the markers in the document
    title: str
    header: list
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def add(self, *cells):
        self.rows.append([str(cell) for cell in cells])

    def _widths(self):
        return [max(len(row[i]) for row in [self.header, *self.rows])
                for i in range(len(self.header))]

    def text(self):
        widths = self._widths()
        lines = [self.title, ""]
        for row in [self.header, *self.rows]:
            lines.append("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                                   for i, (cell, w) in enumerate(zip(row, widths))))
        return "\n".join([*lines, "", *self.notes, ""])

    def markdown(self):
        widths = self._widths()
        def line(row):
            cells = (cell.ljust(w) if i == 0 else cell.rjust(w)
                     for i, (cell, w) in enumerate(zip(row, widths)))
            return "| " + " | ".join(cells) + " |"
        rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
        parts = [line(self.header), line(rule), *map(line, self.rows)]
        notes = [part for note in self.notes for part in ("", note)]
        return "\n".join([*parts, *notes])


def write_into(path, table):
    """Replaces what is between the table's markers in the document."""
    text = path.read_text()
    begin, end = f"<!-- bench:{table.name} -->", f"<!-- /bench:{table.name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(text):
        raise ValueError(f"{path} has no markers {begin}")
    block = f"{begin}\n{table.markdown()}\n{end}"
    path.write_text(pattern.sub(lambda _: block, text))


def spread(ratios, digits=2):
    """'median (least–most)' of what the rounds gave."""
    median = statistics.median(ratios)
    return f"{median:.{digits}f} ({min(ratios):.{digits}f}–{max(ratios):.{digits}f})"


def mebibytes(count):
    return f"{count / 2**20:.0f}"

"""What an adapter makes of a file: rows, rejects, order, repeats, silences, sequence numbers, price outliers.

Nothing is sent or changed by it, and nothing that it remarks is removed from the data: equal rows are often real
trades, and an outlier may be one. Rules:

- *repeat*: a tick equal to the one before in time, price, volume and qualifiers; with the same sequence number too it
  is a *duplicate*;
- *late*: a tick whose time is before that of an earlier one of its symbol;
- *silence*: in regular hours, no tick for more than a minute and 20 times the 99th percentile of the symbol's gaps, up
  to 12 hours; longer is a *break* (a night, a weekend, a day without data);
- *outlier*: a price further from the median of its 25 neighbours on each side than 10 times their mean absolute
  deviation from it, and than 0.1 % of it (Barndorff-Nielsen, Hansen, Lunde, Shephard, "Realized kernels in practice:
  trades and quotes", Econometrics Journal 12, 2009, rule Q4, here for trades; the floor keeps quiet markets quiet).
"""

from __future__ import annotations

import csv
import heapq
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lit.streams.ingest import FileReport, Piece, read_ticks, verified
from lit.streams.outliers import Outlier, OutlierScan
from lit.streams.sources import Adapter
from lit.streams.tick import iso

_MINUTE, _HOURS_12 = 60 * 10**9, 12 * 3600 * 10**9
_TIMES_USUAL = 20
_SHOWN = 10
_EXAMPLES = 3  # of each reason for a refusal


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch of regular hours without a tick: from the tick before it, in seconds."""

    begin: str
    seconds: float


@dataclass(slots=True)
class SymbolCheck:
    """One symbol of a file; times are ISO 8601 UTC, lists show the first or longest ten."""

    ticks: int = 0
    first: str = ""
    last: str = ""
    sessions: dict[str, int] = field(default_factory=lambda: {"regular": 0, "before": 0, "after": 0})
    equal_times: int = 0
    repeats: int = 0
    duplicates: int = 0
    late: int = 0
    furthest_back: float = 0.0
    sequence_gaps: int = 0
    sequence_repeats: int = 0
    silences: int = 0
    longest_silences: list[Silence] = field(default_factory=list)
    breaks: int = 0
    outliers: int = 0
    first_outliers: list[Outlier] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RefusedExample:
    """A row that was refused or set aside."""

    line: int
    reason: str
    row: str


@dataclass(slots=True)
class FileCheck:
    """What came of a file; `rows` = `ticks` + all that was `skipped` and refused (`rejects`)."""

    path: str
    adapter: str
    size: int
    digest: str
    rows: int = 0
    ticks: int = 0
    late: int = 0
    first: str | None = None
    last: str | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    examples: list[RefusedExample] = field(default_factory=list)
    symbols: dict[str, SymbolCheck] = field(default_factory=dict)


def check_file(
    path: Path, adapter: Adapter, on_bytes: Callable[[int, int], None] = lambda _done, _total: None
) -> FileCheck:
    """Read a file to its end and say what the adapter makes of it.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not what the adapter reads.
    """
    file = verified(path, adapter)
    report, done = FileReport(path), 0
    found = FileCheck(str(path), adapter.name, file.size, file.digest)
    scans: dict[str, _Scan] = {}

    def advance(size: int) -> None:
        nonlocal done
        done += size
        on_bytes(done, file.raw_size)

    with tempfile.TemporaryDirectory() as folder:
        refused = Path(folder) / "refused.csv"
        for piece in read_ticks(file, adapter, refused, report, on_bytes=advance):
            scans.setdefault(piece.symbol, _Scan()).feed(piece)
        found.examples = _examples(refused)
    found.rows, found.ticks, found.late = report.rows, report.ticks, report.late
    found.skipped, found.rejects = dict(report.skipped), dict(report.rejects)
    found.symbols = {symbol: scan.finish() for symbol, scan in scans.items()}
    if report.segments:
        found.first = iso(min(segment.first for segment in report.segments.values()))
        found.last = iso(max(segment.last for segment in report.segments.values()))
    return found


class _Scan:
    """Looks through the ticks of one symbol, block by block; remembers the tick before, not the ticks."""

    def __init__(self) -> None:
        self._found = SymbolCheck()
        self._outliers = OutlierScan(_SHOWN)
        self._gaps = _Gaps()
        self._before: dict[str, object] | None = None
        self._sequence: int | None = None
        self._peak = self._first = self._last = 0

    def feed(self, piece: Piece) -> None:
        batch, found = piece.batch, self._found
        stamps = batch.column("timestamp").to_numpy()
        sessions = batch.column("session").to_numpy()
        if not found.ticks:
            self._peak = self._first = self._last = int(stamps[0])
        self._first, self._last = min(self._first, int(stamps.min())), max(self._last, int(stamps.max()))
        found.ticks += len(stamps)
        for name, code in (("regular", 0), ("before", 1), ("after", 2)):
            found.sessions[name] += int((sessions == code).sum())
        self._order(stamps)
        self._equal(piece)
        self._numbers(piece)
        self._gaps.feed(stamps, sessions)
        self._outliers.feed(stamps, batch.column("Price").to_numpy())

    def _order(self, stamps: npt.NDArray[np.int64]) -> None:
        peaks = np.maximum.accumulate(np.concatenate(([self._peak], stamps)))
        back = peaks[:-1] - stamps
        self._found.late += int((back > 0).sum())
        self._found.furthest_back = max(self._found.furthest_back, float(back.max()) / 1e9)
        self._peak = int(peaks[-1])

    def _equal(self, piece: Piece) -> None:
        batch = piece.batch
        names = ("timestamp", "Price", "Volume", "Qualifiers", "Seq. No.")
        edges = [batch.slice(place, 1).select(names).to_pylist()[0] for place in (0, batch.num_rows - 1)]
        same = np.ones(max(batch.num_rows - 1, 0), np.bool_)
        for name in names[:-1]:
            column = batch.column(name)
            values = column.indices if name == "Qualifiers" else column
            values = values.fill_null(-1).to_numpy(zero_copy_only=False)
            equal = values[1:] == values[:-1]
            same &= equal
            if name == "timestamp":
                self._found.equal_times += int(equal.sum())
        numbers = batch.column("Seq. No.")
        known = numbers.is_valid().to_numpy(zero_copy_only=False)[1:]
        filled = numbers.fill_null(-1).to_numpy(zero_copy_only=False)
        self._found.repeats += int(same.sum())
        self._found.duplicates += int((same & known & (filled[1:] == filled[:-1])).sum())
        if (before := self._before) is not None:
            first = edges[0]
            self._found.equal_times += first["timestamp"] == before["timestamp"]
            alike = all(first[name] == before[name] for name in names[:-1])
            self._found.repeats += alike
            self._found.duplicates += (
                alike and first["Seq. No."] is not None and first["Seq. No."] == before["Seq. No."]
            )
        self._before = edges[1]

    def _numbers(self, piece: Piece) -> None:
        numbers = piece.batch.column("Seq. No.").drop_null().to_numpy(zero_copy_only=False)
        if not len(numbers):
            return
        steps = np.diff(numbers if self._sequence is None else np.concatenate(([self._sequence], numbers)))
        self._found.sequence_gaps += int((steps > 1).sum())
        self._found.sequence_repeats += int((steps == 0).sum())
        self._sequence = int(numbers[-1])

    def finish(self) -> SymbolCheck:
        found = self._found
        found.first, found.last = iso(self._first), iso(self._last)
        found.silences, found.breaks, found.longest_silences = self._gaps.finish()
        found.outliers, found.first_outliers = self._outliers.finish()
        return found


class _Gaps:
    """Gaps between ticks of regular hours: how long they usually are, and the longest."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._counts = np.zeros(260, np.int64)  # by quarter of an octave of ns
        self._long: list[tuple[int, int]] = []  # gaps over a minute, (ns, when it began)
        self._breaks = 0

    def feed(self, stamps: npt.NDArray[np.int64], sessions: npt.NDArray[np.uint8]) -> None:
        times = stamps[sessions == 0]
        if not len(times):
            return
        times = np.maximum.accumulate(times if self._last is None else np.concatenate(([self._last], times)))
        gaps = np.diff(times)
        self._counts += np.bincount((np.log2(np.maximum(gaps, 1)) * 4).astype(np.int64), minlength=260)
        self._breaks += int((gaps > _HOURS_12).sum())
        for place in np.flatnonzero((gaps > _MINUTE) & (gaps <= _HOURS_12)):
            self._long.append((int(gaps[place]), int(times[place])))
        self._last = int(times[-1])

    def finish(self) -> tuple[int, int, list[Silence]]:
        """Return the number of silences, of breaks, and the longest silences."""
        reached = np.cumsum(self._counts) >= 0.99 * self._counts.sum()
        usual = 2 ** ((int(np.argmax(reached)) + 1) / 4) if self._counts.sum() else 0.0
        silences = [gap for gap in self._long if gap[0] > _TIMES_USUAL * usual]
        longest = heapq.nlargest(_SHOWN, silences)
        return len(silences), self._breaks, [Silence(iso(begin), round(gap / 1e9, 3)) for gap, begin in longest]


def _examples(refused: Path) -> list[RefusedExample]:
    if not refused.exists():
        return []
    counts: dict[str, int] = {}
    found = []
    with refused.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            counts[row["reason"]] = counts.get(row["reason"], 0) + 1
            if counts[row["reason"]] <= _EXAMPLES:
                found.append(RefusedExample(int(row["line"]), row["reason"], row["row"][:500]))
    return found

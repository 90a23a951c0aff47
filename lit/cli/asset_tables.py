"""How assets look on a terminal: tables of statistics, histograms as a line of bars."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from rich.text import Text

from lit.streams.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from lit.trainer.asset_sample import AssetSample
    from lit.trainer.audit import Audit, AuditedColumn, AuditedFeature
    from lit.trainer.column_stats import ColumnStats
    from lit.trainer.promotions import AssetParts, AssetStatus

#: Width where there is no terminal: a file or a pipe.
_WIDTH = 170
_BARS = "▁▂▃▄▅▆▇█"
_LINE = 20
_ROWS = 12
_SHOWN_OUTLIERS = 0.005


def console() -> Console:
    """Return the console that tables go to."""
    found = Console(highlight=False, markup=False)  # a tick's qualifiers have brackets
    return found if found.is_terminal else Console(width=_WIDTH, highlight=False, markup=False)


def save_html(path: Path, title: str, lines: Iterable[Any]) -> None:
    """Write a report as one HTML file that needs nothing else."""
    recorder = Console(width=_WIDTH, highlight=False, markup=False, record=True, file=io.StringIO())
    recorder.print(Text(title, "bold"))
    for line in lines:
        recorder.print(line)
    try:
        recorder.save_html(str(path), theme=DEFAULT_TERMINAL_THEME)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name a file in a folder that exists") from None


def sparkline(counts: Sequence[float], width: int = _LINE) -> str:
    """Draw counts as a line of bars, neighbours joined to fit; what is not empty is at least the lowest bar."""
    if not counts:
        return ""
    size = -(-len(counts) // width)
    joined = [sum(counts[start : start + size]) for start in range(0, len(counts), size)]
    top = max(joined)
    return "".join(" " if not one else _BARS[max(0, round(one / top * 8) - 1)] for one in joined)


def curve(values: Sequence[float], width: int = 40) -> str:
    """Draw a series of values as a line of bars between its own minimum and maximum; a gap where one is not finite."""
    step = -(-len(values) // width)
    shown = [values[at] for at in range(0, len(values), step)] if values else []
    finite = [value for value in shown if abs(value) < float("inf")]
    if not finite:
        return ""
    low, reach = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(_BARS[round((v - low) / reach * 7)] if abs(v) < float("inf") else " " for v in shown)


def assets_table(found: Sequence[AssetStatus]) -> Table:
    """Return the list of a team's assets."""
    table = Table("asset", "state", "train", "test", "size", "changed", "audited", "by", "in the queue", box=None)
    for one in found:
        parts = one.promoted or one.queue
        recorded = one.last.by if one.last and one.state == "promoted" else ""
        waiting = _counts(one.queue) if one.promoted and one.queue else ""
        table.add_row(
            one.schema,
            one.state if not parts or not parts.error else f"{one.state}, damaged",
            *(f"{parts.samples[part]:,}" if parts and part in parts.samples else "" for part in ("train", "test")),
            f"{parts.bytes / 1e6:,.1f} MB" if parts else "",
            parts.modified[:19].replace("T", " ") if parts else "",
            "yes" if parts and parts.audited else "no",
            recorded,
            waiting,
        )
    return table


def audit_tables(found: Audit) -> Iterator[Any]:
    """Return what an audit says: findings first, then a table a feature."""
    for part, facts in (("train", found.train), ("test", found.test)):
        span = f"{facts.first} … {facts.last}" if facts.first else "no times"
        symbols = ", ".join(f"{name} {count:,}" for name, count in list(facts.symbols.items())[:8])
        more = f" and {len(facts.symbols) - 8:,} more" if len(facts.symbols) > 8 else ""
        yield f"{part:<6}{facts.samples:>12,} samples  {span}  {symbols}{more}"
    yield ""
    if not found.findings:
        yield "Nothing stands out."
    for finding in found.findings:
        yield Text.assemble((f"{finding.kind:<11}", "bold"), f"{finding.where}: {finding.text}")
    for feature in found.features:
        ahead = "" if feature.horizon_seconds is None else f", looks {feature.horizon_seconds:,.0f} s ahead"
        kind = f"label{ahead}" if feature.label else "input"
        yield f"\n{feature.name} ({' × '.join(map(str, feature.shape)) or 1}, {feature.dtype}, {kind})"
        yield _feature_table(feature)


def sample_lines(found: AssetSample) -> Iterator[Any]:
    """Return a sample: where it is from, its packet, a table or a line a feature."""
    where = f"tick {found.index} of {found.symbol}, {found.timestamp}"
    yield f"{found.part} sample {found.number:,} of {found.samples:,}: {where}"
    for name, value in (found.packet or {}).items():
        yield f"  {name:<12}{value}"
    if found.packet_error:
        yield f"  no packet: {found.packet_error}"
    for name, one in found.features.items():
        yield f"\n{name} ({len(one.rows)} × {len(one.columns)})"
        table = Table("row", *one.columns, box=SIMPLE_HEAD)
        shown = (
            range(len(one.rows)) if len(one.rows) <= _ROWS else [*range(3), *range(len(one.rows) - 6, len(one.rows))]
        )
        for before, row in zip([-1, *shown], shown, strict=False):
            if row != before + 1:
                table.add_row("…", *("…" for _ in one.columns))
            table.add_row(str(row), *(f"{value:.6g}" for value in one.rows[row]))
        if len(one.rows) > 1:
            table.add_row("chart", *(curve([row[c] for row in one.rows], 12) for c in range(len(one.columns))))
        yield table


def _feature_table(feature: AuditedFeature) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for name in ("column", "min", "1 %", "median", "mean", "99 %", "max", "std", "NaN"):
        table.add_column(name, justify="left" if name == "column" else "right", no_wrap=name == "column")
    for name in ("train", "test", "PSI", "KS"):
        table.add_column(name, justify="right" if name in ("PSI", "KS") else "left", no_wrap=True)
    for column in feature.columns:
        table.add_row(*_column_cells(column))
    return table


def _column_cells(column: AuditedColumn) -> Iterator[str]:
    own = column.train
    yield column.name
    numbers = (own.min, own.quantiles.get("1"), own.quantiles.get("50"), own.mean, own.quantiles.get("99"), own.max)
    yield from ("" if value is None else _number(value) for value in (*numbers, own.std))
    yield f"{own.nan_share + own.inf_share:.1%}" if own.nan_share + own.inf_share else ""
    yield _shape(own)
    yield _shape(column.test)
    yield from ("" if value is None else f"{value:.3f}" for value in (column.psi, column.ks))


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e10 else f"{value:.4g}"


def _shape(stats: ColumnStats) -> str:
    """Show a column's classes if it has few, else its histogram."""
    if stats.classes and len(stats.classes) <= 3:
        return "  ".join(f"{value:g}: {count / stats.values:.1%}" for value, count in stats.classes)
    outside = f" {stats.outliers:.0%} out" if stats.outliers >= _SHOWN_OUTLIERS else ""
    return f"{sparkline(stats.histogram.counts)}{outside}" if stats.histogram else ""


def _counts(parts: AssetParts | None) -> str:
    return "" if parts is None else " + ".join(f"{count:,}" for count in parts.samples.values())

"""The audit of an asset: what is in it, and what would mislead a training. Streams; nothing is loaded whole.

What it counts is documented where it is computed: `column_stats` (moments, quantiles, histograms, classes, outliers),
`drift` (population stability index, Kolmogorov-Smirnov), `duplicates`, and `overlap` for labels that reach into the
test span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from lit.features.content import content_digest
from lit.streams.errors import UserError
from lit.streams.tick import iso
from lit.trainer.asset import Asset
from lit.trainer.column_stats import Column, ColumnStats, Source, columns_of
from lit.trainer.drift import SHIFTED, decile_counts, kolmogorov_smirnov, population_stability
from lit.trainer.duplicates import DuplicateSamples, add_feature, count_duplicates, hashes
from lit.trainer.hdf5 import reading
from lit.trainer.overlap import LabelOverlap, overlap

#: Raised when an audit of the same content would say something else.
VERSION = 1
#: Columns summarised together, 2 to 4 MB of counters each at the worst; wider features are read once more for the rest.
GROUP = 64
_CHUNK_BYTES = 16 * 1024 * 1024
_SCAN_ROWS = 65_536
_RARE_CLASS, _MANY_OUTLIERS = 0.05, 0.01
#: Samples below which a share such as the accuracy is not sure to 5 points: 1/√n is at least twice its standard error.
_FEW = 400

PartName = Literal["train", "test"]
Progress = Callable[[str, int, int], None]


class AuditedColumn(msgspec.Struct, frozen=True):
    """A column in both parts. `psi` and `ks` are None where a part has no values."""

    name: str
    train: ColumnStats
    test: ColumnStats
    psi: float | None
    ks: float | None


class AuditedFeature(msgspec.Struct, frozen=True):
    """A feature; `shape` is that of one sample. A label looks ahead; its horizon is None where time does not tell."""

    name: str
    shape: list[int]
    dtype: str
    label: bool
    horizon_seconds: float | None
    columns: list[AuditedColumn]


class AuditedPart(msgspec.Struct, frozen=True):
    """A part as a whole. `intact` tells whether its content has the digest that the file states."""

    digest: str
    intact: bool
    samples: int
    first: str | None
    last: str | None
    symbols: dict[str, int]


class AuditFinding(msgspec.Struct, frozen=True):
    """Something to look at: `kind` for programs, `where` a feature's column or a part, `text` for people."""

    kind: str
    where: str
    text: str


class Audit(msgspec.Struct, frozen=True):
    """Everything that an audit found, `findings` first in importance."""

    version: int
    train: AuditedPart
    test: AuditedPart
    findings: list[AuditFinding]
    features: list[AuditedFeature]
    duplicates: DuplicateSamples
    overlap: LabelOverlap | None


def audit(
    train: Asset, test: Asset, labels: Mapping[str, float | None] | None = None, on_progress: Progress = lambda *_: None
) -> Audit:
    """Audit the two parts of an asset.

    Parameters
    ----------
    labels
        Which features are labels, and how far each looks ahead in seconds (see `lit.trainer.horizon`). None: that is
        not known.
    on_progress
        Told what is looked at, and how many features of how many are done.

    Raises
    ------
    UserError
        If the parts do not have the same features.
    FaultError
        If a file is damaged.
    """
    if train.features != test.features:
        raise UserError(f"{train.path} and {test.path} have different features: build the asset again")
    labels, features = labels or {}, []
    with hashes(len(train) + len(test)) as found:
        for number, name in enumerate(train.features):
            on_progress(name, number, len(train.features))
            features.append(_feature(train, test, name, labels))
            for part, room in ((train, found[: len(train)]), (test, found[len(train) :])):
                for start, values in _chunks(part, name):
                    add_feature(room[start : start + len(values)], values)
        duplicates = count_duplicates(found, len(train))
    on_progress("digests", len(train.features), len(train.features))
    parts = {"train": _part(train), "test": _part(test)}
    known = [seconds for seconds in labels.values() if seconds is not None]
    times = _overlap(train, test, max(known, default=None)) if len(train) and len(test) else None
    result = Audit(VERSION, parts["train"], parts["test"], [], features, duplicates, times)
    return msgspec.structs.replace(result, findings=_findings(result))


def _feature(train: Asset, test: Asset, name: str, labels: Mapping[str, float | None]) -> AuditedFeature:
    spec, dtype = train.spec(name), _dtype(train, name)
    width = len(spec.columns)
    columns: list[AuditedColumn] = []
    for first in range(0, width, GROUP):
        last = min(first + GROUP, width)
        own = columns_of(_source(train, name, first, last, dtype), last - first, dtype)
        other = columns_of(_source(test, name, first, last, dtype), last - first, dtype, [one.grid for one in own])
        columns += [_column(spec.columns[first + i], *pair) for i, pair in enumerate(zip(own, other, strict=True))]
    return AuditedFeature(name, list(spec.shape), str(dtype), name in labels, labels.get(name), columns)


def _column(name: str, train: Column, test: Column) -> AuditedColumn:
    psi = ks = None
    if train.grid is not None and test.counts.sum():
        bins = (decile_counts(part.counts, train.grid.deciles) for part in (train, test))
        psi = population_stability(*bins)
        ks = kolmogorov_smirnov(train.counts, test.counts)
    return AuditedColumn(name, train.stats, test.stats, psi, ks)


def _part(part: Asset) -> AuditedPart:
    symbols: Counter[str] = Counter()
    first, last = np.iinfo(np.int64).max, np.iinfo(np.int64).min
    for start in range(0, len(part), _SCAN_ROWS):
        if "symbol" in part:
            symbols.update(part.read("symbol", start, start + _SCAN_ROWS).tolist())
        if "timestamp" in part:
            times = part.read("timestamp", start, start + _SCAN_ROWS)
            first, last = min(first, int(times.min())), max(last, int(times.max()))
    with reading(part.path):
        intact = content_digest(part.file) == part.digest
    timed = first <= last
    return AuditedPart(
        part.digest, intact, len(part), iso(first) if timed else None, iso(last) if timed else None, dict(symbols)
    )


def _overlap(train: Asset, test: Asset, horizon: float | None) -> LabelOverlap | None:
    if not all(name in part for part in (train, test) for name in ("timestamp", "symbol")):
        return None
    numbers: dict[str, int] = {}
    return overlap(train.origins(numbers), test.origins(numbers), horizon)


def _findings(found: Audit) -> list[AuditFinding]:
    return [*_of_parts(found), *_of_samples(found), *(one for feature in found.features for one in _of(feature, found))]


def _of_parts(found: Audit) -> Iterator[AuditFinding]:
    for name, part in (("train", found.train), ("test", found.test)):
        if not part.samples:
            yield AuditFinding("empty", name, f"The {name} part has no samples: choose another split.")
        elif part.samples < _FEW:
            text = f"It has {part.samples:,} samples: a share measured on them is sure to ±{part.samples**-0.5:.0%}."
            yield AuditFinding("few", name, text)
        if not part.intact:
            yield AuditFinding("digest", name, f"The content of {name}.h5 is not what its digest says: it was changed.")


def _of_samples(found: Audit) -> Iterator[AuditFinding]:
    met, same = found.overlap, found.duplicates
    if not any(feature.horizon_seconds for feature in found.features):
        yield AuditFinding("horizon", "labels", "How far labels look ahead is not known, nor so are leaks.")
    if met and met.samples:
        reach = f"{met.horizon_seconds:,.0f} s" if met.horizon_seconds else "at least their own time"
        yield AuditFinding(
            "leak",
            "train",
            f"{met.samples:,} training samples ({met.share:.1%}) have labels that look {reach} ahead, into the windows "
            "of test samples of their symbol: purge them (folds with this horizon), or split by date with a gap.",
        )
    if same.across:
        yield AuditFinding("leak", "test", f"{same.across:,} test samples are equal to a training sample, to the bit.")
    for name, count in (("train", same.train), ("test", same.test)):
        if count:
            yield AuditFinding("duplicates", name, f"{count:,} samples of the {name} part repeat an earlier one of it.")


def _of(feature: AuditedFeature, found: Audit) -> Iterator[AuditFinding]:
    for column in feature.columns:
        where = f"{feature.name}.{column.name}"
        for part, stats in (("train", column.train), ("test", column.test)):
            if missing := stats.nan_share + stats.inf_share:
                yield AuditFinding("missing", where, f"{missing:.2%} of its values in {part} are NaN or infinite.")
        if column.train.constant:
            yield AuditFinding("constant", where, f"It is {column.train.min:g} in every training sample.")
        elif column.train.outliers > _MANY_OUTLIERS:
            yield AuditFinding("outliers", where, f"{column.train.outliers:.1%} of its values lie far out: scale it.")
        if column.psi is not None and column.psi > max(SHIFTED, 3 * _noise(found)):
            text = f"It drifts from train to test: population stability index {column.psi:.2f}, KS {column.ks:.2f}."
            yield AuditFinding("drift", where, text)
        yield from _balance(feature, where, column.train)


def _balance(feature: AuditedFeature, where: str, stats: ColumnStats) -> Iterator[AuditFinding]:
    if feature.label and stats.classes and len(stats.classes) > 1:
        value, count = min(stats.classes, key=lambda pair: pair[1])
        if count / stats.values < _RARE_CLASS:
            share = f"{count / stats.values:.1%}"
            yield AuditFinding("balance", where, f"Only {share} of the labels are {value:g}: weigh the classes.")


def _noise(found: Audit) -> float:
    """Return the stability index that samples of one population have on average: (bins - 1) (1/n + 1/m)."""
    return 13 * (1 / max(found.train.samples, 1) + 1 / max(found.test.samples, 1))


def _dtype(part: Asset, name: str) -> npt.DTypeLike:
    stored = part.file[name].dtype
    return np.dtype(np.float32) if stored in (np.float32, np.float16) else np.dtype(np.float64)


def _chunks(part: Asset, name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    item = part.file[name]
    rows = max(1, _CHUNK_BYTES // max(1, item.dtype.itemsize * int(np.prod(item.shape[1:], dtype=np.int64))))
    for start in range(0, len(part), rows):
        yield start, part.read(name, start, start + rows)


def _source(part: Asset, name: str, first: int, last: int, dtype: npt.DTypeLike) -> Source:
    width = len(part.spec(name).columns)

    def read() -> Iterator[npt.NDArray[Any]]:
        for _, values in _chunks(part, name):
            flat = values.reshape(-1, width) if values.size else np.empty((0, width))
            yield np.ascontiguousarray(flat[:, first:last], dtype)

    return read

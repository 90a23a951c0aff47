"""Reads over many sequences at once, on ClickHouse (`RangeReads`): every value is bound, every query is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.errors import FaultError, UserError
from lit.streams.search import Condition
from lit.streams.search_sql import COLUMN_OF, condition
from lit.streams.store import BUCKET_TICKS, TickRange
from lit.streams.store_rows import arrow_type
from lit.streams.tick import TICK_SCHEMA, Int64Array

if TYPE_CHECKING:
    from lit.streams.store_clickhouse import Engine

_TYPES = {
    **{name: TICK_SCHEMA.field(name).type for name in TICK_SCHEMA.names},
    "symbol": pa.dictionary(pa.int32(), pa.utf8()),
    "Date-Time": pa.timestamp("ns", "UTC"),
}
#: Ranges of so many ticks are counted one by one; so few whole ones are told apart faster by comparing than by a set.
_LARGE, _FEW = 200_000, 8
_OF_TEAM = "team = {team:String} AND source = {source:String}"
#: Of a run: name, how it merges, its column in `tick_buckets` and in `ticks`.
_EXTREMES = (
    ("start", "min", "earliest", "timestamp"),
    ("end", "max", "latest", "timestamp"),
    ("low", "min", "low", "price"),
    ("high", "max", "high", "price"),
    ("smallest", "min", "smallest", "volume"),
    ("largest", "max", "largest", "volume"),
)


class ClickHouseRanges:
    """Ticks of one team."""

    def __init__(self, engine: Engine, team: str) -> None:
        self._engine = engine
        self._team = team

    def columns(self, source: str, ranges: Sequence[TickRange], names: Sequence[str]) -> pa.Table:
        """Return columns of ticks, range after range."""
        where, values = _where(ranges)
        own = set(names).difference(COLUMN_OF)
        kinds = self.extras(source, ranges) if own else {}
        if unknown := sorted(own.difference(kinds)):
            raise UserError(f"these ticks have no field {unknown[0]!r}: there are {', '.join([*COLUMN_OF, *kinds])}")
        fields = []
        for number, name in enumerate(names):
            if name in COLUMN_OF:
                fields.append(f"{COLUMN_OF[name]} AS c{number}")
                continue
            values[f"n{number}"] = name
            entry = f"{{n{number}:String}}"
            fields.append(f"if(mapContains(extras, {entry}), extras[{entry}], NULL) AS c{number}")
        expected = sum(map(len, ranges))
        for final in ("", "FINAL"):  # ticks that are there once, as nearly always, are read faster without
            table = self._rows(source, where, values, fields, len(ranges) > 1, final)
            if len(ranges) > 1:
                table = table.take(pa.array(_order(table, ranges)))
            if table.num_rows == expected and _contiguous(table, ranges):
                break
        else:
            raise FaultError(
                f"the tick store has {table.num_rows:,} of {expected:,} ticks that {source!r} should have there: "
                "cache its files again"
            )
        found = {
            name: _cast(table.column(f"c{number}"), _TYPES.get(name) or arrow_type(kinds[name]))
            for number, name in enumerate(names)
        }
        return pa.table(found)

    def _rows(
        self, source: str, where: str, values: dict[str, Any], fields: list[str], many: bool, final: str = "FINAL"
    ) -> Any:
        selected = ", ".join([*(["origin AS o", "symbol AS s"] if many else []), "idx", *fields])
        order = "" if many else "ORDER BY idx"
        sql = f"SELECT {selected} FROM ticks {final} WHERE {_OF_TEAM} AND {where} {order}"
        return self._engine.arrow(sql, team=self._team, source=source, **values)

    def extras(self, source: str, ranges: Sequence[TickRange]) -> dict[str, str]:
        """Return the fields beyond the tick model, and their types."""
        pairs = [(one.origin, one.symbol) for one in ranges]
        sql = (
            f"SELECT DISTINCT kinds FROM ticks WHERE {_OF_TEAM} AND "
            "(origin, symbol) IN {pairs:Array(Tuple(String, String))} AND idx = 0 ORDER BY kinds"
        )
        found: dict[str, str] = {}
        for (kinds,) in self._engine.rows(sql, team=self._team, source=source, pairs=pairs):
            found.update(msgspec.json.decode(kinds) if kinds else {})
        return found

    def matches(self, source: str, ranges: Sequence[TickRange], search: Condition) -> tuple[Int64Array, Int64Array]:
        """Return (number of the range, index) of ticks that fulfil a search."""
        where, values = _where(ranges)
        sql, wanted = condition(search)
        many = len(ranges) > 1
        table = self._rows(source, f"{where} AND {sql}", {**values, **wanted}, [], many)
        index = table.column("idx").to_numpy()
        numbers = _numbers(table, ranges) if many else np.zeros(len(index), np.int64)
        order = np.lexsort((index, numbers))
        return numbers[order], index[order]

    def count(self, source: str, ranges: Sequence[TickRange], search: Condition) -> int:
        """Return how many ticks fulfil a search."""
        large = [[one] for one in ranges if len(one) >= _LARGE]  # one origin and symbol is the cheapest to test for
        small = [one for one in ranges if len(one) < _LARGE]
        return sum(self._count(source, group, search) for group in [*large, small] if group)

    def _count(self, source: str, ranges: Sequence[TickRange], search: Condition) -> int:
        where, values = _where(ranges)
        sql, wanted = condition(search)
        found = 0
        for final in ("", "FINAL"):
            text = f"SELECT count(), countIf({sql}) FROM ticks {final} WHERE {_OF_TEAM} AND {where}"
            rows, found = self._engine.rows(text, team=self._team, source=source, **values, **wanted)[0]
            if rows == sum(map(len, ranges)):  # each tick is there once
                break
        return int(found)

    def extremes(self, source: str, ranges: Sequence[TickRange], width: int) -> pa.Table:
        """Return what lies in each run of `width` ticks."""
        outer = list(ranges)
        tables = []
        if width % BUCKET_TICKS == 0:
            inner = [one for one in map(_aligned, ranges) if len(one)]
            outer = [edge for one in ranges for edge in _edges(one) if len(edge)]
            if inner:
                tables.append(self._extremes(source, inner, width, "tick_buckets", f"bucket * {BUCKET_TICKS}", 2))
        if outer:
            tables.append(self._extremes(source, outer, width, "ticks", "idx", 3))
        return _merged(tables, ranges)

    def _extremes(
        self, source: str, ranges: Sequence[TickRange], width: int, table: str, index: str, place: int
    ) -> Any:
        where, values = _where(ranges, index)
        fields = ", ".join(f"{one[1]}({one[place]}) AS c{number}" for number, one in enumerate(_EXTREMES))
        sql = (
            f"SELECT origin AS o, symbol AS s, intDiv({index}, {{width:Int64}}) AS run, {fields} FROM {table} "
            f"WHERE {_OF_TEAM} AND {where} GROUP BY origin, symbol, run"
        )
        return self._engine.arrow(sql, team=self._team, source=source, width=width, **values)

    def peaks(self, source: str, ranges: Sequence[TickRange], width: int) -> list[Int64Array]:
        """Return of each whole range the latest time in each run of `width` ticks."""
        sql = (
            f"SELECT origin AS o, symbol AS s, intDiv(bucket, {{width:Int64}}) AS run, max(latest) AS latest "
            f"FROM tick_buckets WHERE {_OF_TEAM} AND "
            "(origin, symbol) IN {pairs:Array(Tuple(String, String))} GROUP BY origin, symbol, run ORDER BY run"
        )
        pairs = [(one.origin, one.symbol) for one in ranges]
        table = self._engine.arrow(sql, team=self._team, source=source, width=width // BUCKET_TICKS, pairs=pairs)
        numbers, latest = _numbers(table, ranges), table.column("latest").to_numpy()
        found = [latest[numbers == number] for number in range(len(ranges))]
        for one, own in zip(ranges, found, strict=True):
            if len(own) != -(-one.last // width):
                raise FaultError(f"the tick store lacks ticks of {one.symbol!r} in {source!r}: cache its files again")
        return found


def _where(ranges: Sequence[TickRange], index: str = "idx") -> tuple[str, dict[str, Any]]:
    """Return the condition that a tick lies in one of the ranges; whole ones need no bounds."""
    values: dict[str, Any] = {}
    terms = []
    for number, one in enumerate(one for one in ranges if not one.whole):
        values.update(
            {f"o{number}": one.origin, f"s{number}": one.symbol, f"f{number}": one.first, f"l{number}": one.last}
        )
        terms.append(
            f"(origin = {{o{number}:String}} AND symbol = {{s{number}:String}} "
            f"AND {index} >= {{f{number}:Int64}} AND {index} < {{l{number}:Int64}})"
        )
    whole = [(one.origin, one.symbol) for one in ranges if one.whole]
    if len(whole) <= _FEW:
        for number, (origin, symbol) in enumerate(whole):
            values.update({f"ow{number}": origin, f"sw{number}": symbol})
            terms.append(f"(origin = {{ow{number}:String}} AND symbol = {{sw{number}:String}})")
    else:
        values["pairs"] = whole
        terms.append("(origin, symbol) IN {pairs:Array(Tuple(String, String))}")
    return f"({' OR '.join(terms) or '0'})", values


def _numbers(table: pa.Table, ranges: Sequence[TickRange]) -> Int64Array:
    """Return of each row the number of its range; a sequence is in one range only."""
    codes, places = [], []
    for name in ("o", "s"):
        column = table.column(name).combine_chunks()
        column = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        codes.append(column.indices.to_numpy(zero_copy_only=False).astype(np.int64))
        places.append({text: place for place, text in enumerate(column.dictionary.to_pylist())})
    own = np.zeros((len(places[0]), len(places[1])), np.int64)
    for number, one in enumerate(ranges):
        if one.origin in places[0] and one.symbol in places[1]:
            own[places[0][one.origin], places[1][one.symbol]] = number
    return own[codes[0], codes[1]] if table.num_rows else np.zeros(0, np.int64)


def _order(table: pa.Table, ranges: Sequence[TickRange]) -> Int64Array:
    return np.lexsort((table.column("idx").to_numpy(), _numbers(table, ranges)))


def _contiguous(table: pa.Table, ranges: Sequence[TickRange]) -> bool:
    wanted = np.concatenate([np.arange(one.first, one.last) for one in ranges] or [np.zeros(0, np.int64)])
    return np.array_equal(table.column("idx").to_numpy(), wanted)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(wanted) and not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(wanted.value_type))
    return column if column.type == wanted else column.cast(wanted)


def _aligned(one: TickRange) -> TickRange:
    """Return the part of a range that whole buckets cover."""
    if one.whole:
        return one
    first = -(-one.first // BUCKET_TICKS) * BUCKET_TICKS
    return TickRange(one.origin, one.symbol, first, max(one.last // BUCKET_TICKS * BUCKET_TICKS, first))


def _edges(one: TickRange) -> list[TickRange]:
    """Return the parts of a range before and behind its whole buckets."""
    inner = _aligned(one)
    if one.whole:
        return []
    if not len(inner):
        return [one]
    return [
        TickRange(one.origin, one.symbol, one.first, inner.first),
        TickRange(one.origin, one.symbol, inner.last, one.last),
    ]


def _merged(tables: Sequence[pa.Table], ranges: Sequence[TickRange]) -> pa.Table:
    """Return one row a run: its buckets and its edges come as rows of their own."""
    numbers = np.concatenate([_numbers(table, ranges) for table in tables] or [np.zeros(0, np.int64)])
    found = [_joined(tables, name) for name in ("run", *(f"c{number}" for number in range(len(_EXTREMES))))]
    order = np.lexsort((found[0], numbers))
    numbers, runs = numbers[order], found[0][order]
    fresh = np.flatnonzero(np.diff(numbers, prepend=-1) | np.diff(runs, prepend=-1)) if len(runs) else np.zeros(0, int)
    columns: dict[str, Any] = {"range": numbers[fresh], "run": runs[fresh]}
    for (name, how, _, _), values in zip(_EXTREMES, found[1:], strict=True):
        merge = np.minimum if how == "min" else np.maximum
        columns[name] = merge.reduceat(values[order], fresh) if len(runs) else values
    return pa.table(columns)


def _joined(tables: Sequence[pa.Table], name: str) -> Any:
    parts = [table.column(name).to_numpy() for table in tables]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)

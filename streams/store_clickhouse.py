"""The tick store on ClickHouse: a server by its DSN, or chDB, the same engine in this process."""

from __future__ import annotations

import contextlib
import fcntl
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from lit.streams.errors import FaultError, UserError
from lit.streams.store import BUCKET_TICKS, StoredSegment
from lit.streams.store_buckets import BACKFILL, BUCKETS_TABLE, bucket_rows
from lit.streams.store_ranges import ClickHouseRanges
from lit.streams.store_rows import COLUMNS, TABLE, to_block, to_rows
from lit.streams.tick import TickBlock
from lit.streams.workspace import checked_name

#: Rows of one insert: ClickHouse writes them as one block, which is there whole or not at all.
INSERT_ROWS = 500_000
INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "max_insert_threads": 1,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
}
#: A query that takes longer or more memory is a mistake of who asked.
READ_SETTINGS = {
    "max_execution_time": 30,
    "max_memory_usage": 2_000_000_000,
    "max_threads": 2,
    "optimize_aggregation_in_order": 1,  # half the work of grouping ticks by runs of them
}
_TOO_MUCH = {
    "TIMEOUT_EXCEEDED": "takes longer than half a minute",
    "MEMORY_LIMIT_EXCEEDED": "needs too much memory",
}


class Engine:
    """A ClickHouse client, one call at a time where the engine is in this process."""

    def __init__(self, client: Any, embedded: bool) -> None:
        self._client, self._embedded = client, embedded
        # A server refuses changes by what only reads; chDB would go on refusing them, in the queries that follow.
        self._reading = READ_SETTINGS if embedded else {**READ_SETTINGS, "readonly": 2}
        self._lock: Any = threading.RLock() if embedded else contextlib.nullcontext()

    def command(self, sql: str, **parameters: Any) -> None:
        """Run a statement that returns nothing."""
        self._call(self._client.command, sql, parameters=parameters)

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        """Return the rows of a small query."""
        return list(self._call(self._client.query, sql, parameters=parameters, settings=self._reading).result_rows)

    def arrow(self, sql: str, **parameters: Any) -> pa.Table:
        """Return the columns of a query."""
        settings: dict[str, Any] | None = self._reading
        if self._embedded:  # given besides the text, each setting is set, and set back: twice the time of a short query
            sql = f"{sql} SETTINGS {', '.join(f'{name} = {value}' for name, value in READ_SETTINGS.items())}"
            settings = None
        return self._call(self._client.query_arrow, sql, parameters=parameters, settings=settings, use_strings=True)

    def insert(self, name: str, table: pa.Table) -> None:
        """Insert rows into a table, all or none."""
        self._call(self._client.insert_arrow, name, table, settings=INSERT_SETTINGS)

    def prepare(self) -> None:
        """Make the tables; ticks of an older version are summarised."""
        self.command(TABLE)
        self.command(BUCKETS_TABLE)
        if self.rows("SELECT 1 FROM ticks LIMIT 1") and not self.rows("SELECT 1 FROM tick_buckets LIMIT 1"):
            self.command(BACKFILL)

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            self._client.close()

    def _call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        try:
            with self._lock:
                try:
                    return method(*args, **kwargs)
                except ClickHouseError:
                    if self._embedded:  # what a failed query has left behind would come before the next answer
                        with contextlib.suppress(Exception):
                            self._client.query("SELECT 1")
                    raise
        except (ClickHouseError, OSError) as error:
            text = str(error).strip().splitlines()[0][:400]
            if "NOT_ENOUGH_SPACE" in str(error) or "No space left" in str(error):
                text = "its disk is full: free some space, what was acknowledged is kept"
            for code, problem in _TOO_MUCH.items():
                if code in str(error):
                    raise UserError(f"this query of the tick store {problem}: ask for fewer ticks") from error
            if "CANNOT_COMPILE_REGEXP" in str(error):
                reason = text.partition("re2: ")[2].partition(". Look at")[0]
                raise UserError(f"the pattern is no regular expression (RE2): {reason}") from error
            raise FaultError(f"the tick store failed: {text}") from error


class ClickHouseStore:
    """Ticks of one team in the table `ticks` (a `TickStore`)."""

    def __init__(self, engine: Engine, team: str) -> None:
        self._engine = engine
        self._team = checked_name(team, "team")
        self.ranges = ClickHouseRanges(engine, team)

    def insert(self, source: str, partition: int, blocks: Sequence[tuple[int, TickBlock]]) -> None:
        """Store messages, whole ones per insert, so that the greatest offset says what is there."""
        group: list[tuple[int, TickBlock]] = []
        rows = 0
        for offset, block in blocks:
            if group and rows + len(block) > INSERT_ROWS:
                self._insert(source, partition, group)
                group, rows = [], 0
            group.append((offset, block))
            rows += len(block)
        if rows:
            self._insert(source, partition, group)

    def _insert(self, source: str, partition: int, group: Sequence[tuple[int, TickBlock]]) -> None:
        # The summary first: ticks that are there are summarised, whenever this process is killed.
        summary = bucket_rows(self._team, source, [block for _, block in group])
        self._engine.insert("tick_buckets", summary)
        self._engine.insert("ticks", to_rows(self._team, source, partition, group).combine_chunks())

    def applied(self, source: str) -> Mapping[int, int]:
        """Return partition → greatest stored offset."""
        sql = (
            "SELECT partition, max(offset) FROM ticks WHERE team = {team:String} AND source = {source:String} "
            "GROUP BY partition"
        )
        rows = self._engine.rows(sql, team=self._team, source=source)
        return {int(partition): int(offset) for partition, offset in rows}

    def segments(self, source: str, origin: str = "") -> list[StoredSegment]:
        """Return what is stored of an origin, by symbol."""
        sql = (
            "SELECT symbol, count(), argMin(timestamp, idx), argMax(timestamp, idx) FROM ticks FINAL "
            "WHERE team = {team:String} AND source = {source:String} AND origin = {origin:String} "
            "GROUP BY symbol ORDER BY symbol"
        )
        rows = self._engine.rows(sql, team=self._team, source=source, origin=origin)
        return [StoredSegment(str(row[0]), *map(int, row[1:])) for row in rows]

    def count(self, source: str, origin: str | None = None) -> int:
        """Return the number of ticks."""
        where = "WHERE team = {team:String} AND source = {source:String}"
        named = {"team": self._team, "source": source}
        if origin is not None:
            where += " AND origin = {origin:String}"
            named["origin"] = origin
        sums = "count(), max(idx) + 1, sum(idx), sum(toUInt64(idx) * idx)"
        rows = self._engine.rows(f"SELECT {sums} FROM ticks {where} GROUP BY origin, symbol", **named)
        sequences = [tuple(map(int, row)) for row in rows]
        if all(_is_run(*row) for row in sequences):  # half the work of merging
            return sum(row[0] for row in sequences)
        return int(self._engine.rows(f"SELECT count() FROM ticks FINAL {where}", **named)[0][0])

    def window(self, source: str, symbol: str, first: int, last: int, origin: str = "") -> TickBlock:
        """Return ticks first…last−1."""
        first = max(first, 0)
        sql = (
            f"SELECT {COLUMNS} FROM ticks FINAL WHERE team = {{team:String}} AND source = {{source:String}} "
            "AND origin = {origin:String} AND symbol = {symbol:String} "
            "AND idx >= {first:Int64} AND idx < {last:Int64} ORDER BY idx"
        )
        table = self._engine.arrow(
            sql, team=self._team, source=source, origin=origin, symbol=symbol, first=first, last=last
        )
        try:
            return to_block(table, symbol, first, origin)
        except ValueError as error:
            raise FaultError(f"the tick store is damaged: {error}. Cache or replay source {source!r} again.") from error

    def packet(self, source: str, symbol: str, index: int, origin: str = "") -> dict[str, Any]:
        """Return one tick."""
        block = self.window(source, symbol, index, index + 1, origin) if index >= 0 else None
        if block is None or not len(block):
            raise IndexError(f"{symbol} has no tick {index} in {source}")
        return block.packet(0)

    def index_at(self, source: str, symbol: str, timestamp: int, origin: str = "") -> int:
        """Return the index of the first tick at or after a time: in the first bucket that reaches it."""
        key = (
            "team = {team:String} AND source = {source:String} "
            "AND origin = {origin:String} AND symbol = {symbol:String}"
        )
        named = {"team": self._team, "source": source, "origin": origin, "symbol": symbol, "time": timestamp}
        sql = f"SELECT min(bucket), count() FROM tick_buckets WHERE {key} AND latest >= {{time:Int64}}"
        bucket, found = self._engine.rows(sql, **named)[0]
        if found:
            sql = (
                f"SELECT min(idx), count() FROM ticks WHERE {key} AND timestamp >= {{time:Int64}} "
                "AND idx >= {first:Int64} AND idx < {last:Int64}"
            )
            first = int(bucket) * BUCKET_TICKS
            index, found = self._engine.rows(sql, **named, first=first, last=first + BUCKET_TICKS)[0]
            if found:
                return int(index)
        index, found = self._engine.rows(f"SELECT max(idx), count() FROM ticks WHERE {key}", **named)[0]
        return int(index) + 1 if found else 0

    def delete(self, source: str, origin: str | None = None) -> None:
        """Forget a source, or one origin of it."""
        for table in ("ticks", "tick_buckets"):
            sql = f"DELETE FROM {table} WHERE team = {{team:String}} AND source = {{source:String}}"
            if origin is None:
                self._engine.command(sql, team=self._team, source=source)
            else:
                sql += " AND origin = {origin:String}"
                self._engine.command(sql, team=self._team, source=source, origin=origin)


def _is_run(rows: int, end: int, total: int, squares: int) -> bool:
    """Whether indices are 0…end − 1, each once; one that lacks and one that is there twice would show in the sums."""
    expected = (end - 1) * end * (2 * end - 1) // 6
    return rows == end and total == (end - 1) * end // 2 and (squares - expected) % 2**64 == 0


class ClickHouseStores:
    """The stores of all teams on one engine (`Stores`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def team(self, name: str) -> ClickHouseStore:
        """Return a team's store."""
        return ClickHouseStore(self._engine, name)

    def forget(self) -> None:
        """Let the engine forget what it has read, so that what comes is read anew; to measure with."""
        for kind in ("MARK", "UNCOMPRESSED"):
            self._engine.command(f"SYSTEM DROP {kind} CACHE")


@contextlib.contextmanager
def open_server(dsn: str) -> Iterator[ClickHouseStores]:
    """Connect to a ClickHouse server, make the table.

    Raises
    ------
    FaultError
        If the server does not answer.
    """
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        client = clickhouse_connect.get_client(dsn=dsn, autogenerate_session_id=False)
    except (ClickHouseError, OSError, ValueError) as error:
        raise FaultError(
            f"no ClickHouse answers at the address in LIT_CLICKHOUSE ({_without_password(dsn)}): start it, correct "
            "the address, or unset LIT_CLICKHOUSE to use the embedded engine."
        ) from error
    engine = Engine(client, embedded=False)
    try:
        engine.prepare()
        yield ClickHouseStores(engine)
    finally:
        engine.close()


def _without_password(dsn: str) -> str:
    scheme, _, rest = dsn.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]


_open: dict[Path, tuple[Engine, IO[str], int]] = {}
_open_lock = threading.Lock()


@contextlib.contextmanager
def open_embedded(data: Path) -> Iterator[ClickHouseStores]:
    """Open chDB under `data`; several opens in one process share the engine.

    Raises
    ------
    FaultError
        If another process has it open.
    """
    path = data.resolve() / ".store"
    with _open_lock:
        engine, lock, users = _open.get(path) or (*_open_path(path), 0)
        _open[path] = (engine, lock, users + 1)
    try:
        yield ClickHouseStores(engine)
    finally:
        with _open_lock:
            engine, lock, users = _open.pop(path)
            if users > 1:
                _open[path] = (engine, lock, users - 1)
            else:
                engine.close()
                lock.close()


def _open_path(path: Path) -> tuple[Engine, IO[str]]:
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError

    path.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(".store.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        engine = Engine(clickhouse_connect.get_client(interface="chdb", path=str(path)), embedded=True)
        engine.prepare()
    except BlockingIOError as error:
        lock.close()
        raise FaultError(
            f"another process has the tick store {path} open: use it through a running `lit up`, or end that process."
        ) from error
    except (ClickHouseError, FaultError) as error:
        lock.close()
        raise FaultError(f"the tick store {path} cannot be opened: {str(error).strip()[:300]}") from error
    return engine, lock

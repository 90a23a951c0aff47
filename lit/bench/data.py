"""Files → Kafka → store, and random access to what is there: at several sizes of a dataset, each beside a reference.

The dataset grows in one folder: synthetic Parquet files are written and cached as users' files are, so a run that was
stopped goes on where it was. What is measured at a size is kept there too (`results.json`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lit.bench.synthetic import PARAMETERS, PIECE, write_file
from lit.features.discovery import Discovery
from lit.features.stored_files import open_dataset, stored_entries
from lit.settings import Settings
from lit.streams.cache import cached_files
from lit.streams.errors import UserError
from lit.streams.store_clickhouse import open_embedded
from lit.streams.workspace import Workspace

TEAM, ADAPTER = "bench", "parquet"
#: The walkthrough's window: so many points on the screen.
WINDOW = 180_000
#: Ticks of one file at the most, and what a tick takes on disk: in its file, in the topic, in the store with room for
#: merges.
FILE_TICKS = 10 * PIECE
BYTES_PER_TICK = {"files": 9, "topic": 13, "store": 14}
SAMPLES = 200
_ROUNDS = 5


class Measured(msgspec.Struct):
    """Figures at one size; times in ms, `window_cold_cpu_ms` of the processors: a busy machine makes the others grow.

    `flat_file_ms` is the reference for windows: as many ticks of an uncompressed Arrow file. `memory_bars_ms` is that
    for bars: the same request of a dataset in memory. Cold: nothing of the store in this process or the page cache.
    """

    ticks: int
    window_cold_ms: float
    window_cold_cpu_ms: float
    window_warm_ms: float
    flat_file_ms: float
    packet_cold_ms: float
    overview_cold_ms: float
    search_window_ms: float
    count_ms: float
    bars_cold_ms: float
    bars_warm_ms: float
    memory_bars_ms: float
    hour_bars_first_ms: float
    feature_loop_ms: float
    feature_batch_ms: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The files that make the dataset grow to the sizes, in order: (path, first tick, ticks)."""

    folder: Path
    sizes: tuple[int, ...]
    files: tuple[tuple[Path, int, int], ...]

    @property
    def needed_bytes(self) -> int:
        """Disk space at the end."""
        return self.sizes[-1] * sum(BYTES_PER_TICK.values())

    def check_space(self) -> None:
        """Raise `UserError` if the disk has not the room for what is still to come."""
        used = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
        free = shutil.disk_usage(self.folder).free
        if free < self.needed_bytes - used:
            raise UserError(
                f"{self.folder} needs {self.needed_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
                "name another --folder or fewer ticks"
            )


def plan(folder: Path, sizes: Sequence[int]) -> Plan:
    """Return the files for these sizes (multiples of a million ticks).

    Raises
    ------
    UserError
        If a size is none.
    """
    wanted = tuple(sorted(set(sizes)))
    if not wanted or wanted[0] <= 0 or any(size % PIECE for size in wanted):
        raise UserError("sizes are millions of ticks: whole numbers from 1 on")
    raw = Workspace(folder, TEAM).folder("raw")
    files, first = [], 0
    for size in wanted:
        while first < size:
            count = min(FILE_TICKS, size - first)
            files.append((raw / f"{first // PIECE:05d}_{count // PIECE}.parquet", first, count))
            first += count
    return Plan(folder, wanted, tuple(files))


def grow(found: Plan, settings: Settings, tell: Callable[[str], None]) -> dict[int, Measured]:
    """Cache the files one after the other and measure at each size; what is done already is not done again."""
    from lit.sdk.data.caching import cache

    results = _results(found.folder)
    done = 0
    for path, first, count in found.files:
        if not path.exists():
            write_file(path, first, count)
        known = cached_files(Workspace(settings.data, TEAM)).get(str(path.absolute()))
        began = time.perf_counter()
        cache(TEAM, ADAPTER, [path], PARAMETERS, settings=settings)
        done = first + count
        rate = "there already" if known else f"{count / (time.perf_counter() - began):,.0f} ticks/s"
        tell(f"{done // PIECE} of {found.sizes[-1] // PIECE} million ticks in the store ({rate})")
        if done in found.sizes and done not in results:
            results[done] = _child(found.folder, done)
            (found.folder / "results.json").write_bytes(msgspec.json.encode(list(results.values())))
            tell(f"measured at {done // PIECE} million")
    return {size: results[size] for size in found.sizes}


def _results(folder: Path) -> dict[int, Measured]:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = msgspec.json.decode((folder / "results.json").read_bytes(), type=list[Measured])
        return {one.ticks: one for one in found}
    return {}


def _child(folder: Path, ticks: int) -> Measured:
    """Measure in a process of its own, which has read nothing yet."""
    import subprocess

    command = [sys.executable, "-m", "lit.bench.data", str(folder), str(ticks)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1800).stdout
    return msgspec.json.decode(output.splitlines()[-1], type=Measured)


def measure(folder: Path, ticks: int) -> Measured:
    """Measure the dataset of the first `ticks` ticks; run in a fresh process."""
    workspace = Workspace(folder, TEAM)
    paths, size = [], 0
    for path in sorted((workspace.root / "raw").glob("*.parquet")):
        if size < ticks:
            paths.append(str(path.absolute()))
            size += int(path.stem.rpartition("_")[2]) * PIECE
    entries = stored_entries(workspace, ADAPTER, paths, PARAMETERS)
    with open_embedded(folder) as stores:
        store = stores.team(TEAM)

        def fresh() -> Discovery:
            return Discovery(open_dataset(workspace, store, ADAPTER, entries))

        return _measure(fresh, folder, size, stores.forget)


def _measure(fresh: Callable[[], Discovery], folder: Path, size: int, forget: Callable[[], None]) -> Measured:
    chance = np.random.default_rng(size)

    def places(count: int, room: int) -> list[int]:
        return chance.integers(0, max(size - room, 1), count).tolist()

    def cold() -> None:
        forget()
        evict(folder)

    def timed(
        job: Callable[[int], Any],
        where: Sequence[int],
        before: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> float:
        took = []
        for place in where:
            before()
            began = clock()
            job(place)
            took.append((clock() - began) * 1000)
        return median(took)

    look = fresh()

    def window(first: int) -> None:
        look.window(look.covered(first, first + WINDOW))

    def bars(first: int) -> None:
        fresh().dataset.get_bars(first, 100, "minute", 1)

    begins = places(_ROUNDS, WINDOW)
    figures = {
        "window_cold_ms": timed(window, begins, cold),
        "window_cold_cpu_ms": timed(window, begins, cold, time.process_time),
        "window_warm_ms": timed(window, begins),
        "flat_file_ms": _flat_file(look, begins[0], folder),
        "packet_cold_ms": timed(lambda index: fresh().dataset[index], places(_ROUNDS, 1), cold),
        "overview_cold_ms": timed(lambda _: look.overview(look.covered(0, size), 2000), [0] * 3, cold),
        "search_window_ms": timed(
            lambda first: look.search("ODD[IRGCOND] and Volume > 50", look.covered(first, first + WINDOW), 0.0), begins
        ),
        "count_ms": timed(lambda place: look.search(f"Volume > {90_000 + place}", [], 600.0), range(2)),
        "bars_cold_ms": timed(bars, places(_ROUNDS, 1), cold),
    }
    dataset = fresh().dataset
    near = np.sort(chance.integers(size // 2, size // 2 + 400_000, SAMPLES))
    dataset.get_bars_batch(near, 100, "minute", 1)
    figures["bars_warm_ms"] = timed(lambda index: dataset.get_bars(index, 100, "minute", 1), near.tolist())
    figures["memory_bars_ms"] = _memory_bars(look, near, timed)
    bar_files = folder / TEAM / "raw" / ".bars"
    shutil.rmtree(bar_files, ignore_errors=True)
    figures["hour_bars_first_ms"] = timed(lambda index: dataset.get_bars(index, 100, "hour", 1), near[:1].tolist())
    figures["feature_loop_ms"], figures["feature_batch_ms"] = _feature(dataset, near)
    return Measured(size, **{name: round(value, 4) for name, value in figures.items()})


def _feature(dataset: Any, indices: Any) -> tuple[float, float]:
    """Return ms a sample of a shipped feature by the loop and by its batch form, both with all they read in memory."""
    from lit.plugins.traders.scripts import sma

    params = {"count": 60, "rate": 20}
    sma.feature_batch(dataset, indices, params, {})
    began = time.perf_counter()
    for index in indices.tolist():
        sma.feature(dataset, index, params)
    loop = time.perf_counter() - began
    began = time.perf_counter()
    sma.feature_batch(dataset, indices, params, {})
    batch = time.perf_counter() - began
    return loop * 1000 / len(indices), batch * 1000 / len(indices)


def _flat_file(look: Discovery, first: int, folder: Path) -> float:
    """Return ms to read a window's ticks from an Arrow file that holds nothing else, with cold page cache."""
    table = look.window(look.covered(first, first + WINDOW))
    path = folder / "flat.arrow"
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    os.sync()
    took = []
    for _ in range(_ROUNDS):
        _forget_pages(path)
        began = time.perf_counter()
        found = pa.ipc.open_file(pa.OSFile(str(path))).read_all()
        for name in found.schema.names:
            found.column(name).to_numpy().copy()
        took.append((time.perf_counter() - began) * 1000)
    path.unlink()
    return median(took)


def _memory_bars(look: Discovery, indices: Any, timed: Callable[..., float]) -> float:
    """Return ms of the same bars out of memory."""
    from lit.features.dataset import DatasetAdapter
    from lit.streams.tick import tick_block

    low = max(int(indices[0]) - 600_000, 0)
    table = look.window(look.covered(low, int(indices[-1]) + 1))
    block = tick_block("SYN.N", 0, *(table.column(name).to_numpy() for name in ("timestamp", "Price", "Volume")))
    memory = DatasetAdapter.of_blocks([block])
    memory.get_bars(0, 1, "minute", 1)
    return timed(lambda index: memory.get_bars(index - low, 100, "minute", 1), indices.tolist())


def evict(folder: Path) -> None:
    """Let the kernel forget the pages of the store's files."""
    for path in (folder / ".store").rglob("*.bin"):
        with contextlib.suppress(OSError):  # a merge has removed it
            _forget_pages(path)


def _forget_pages(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(measure(Path(sys.argv[1]), int(sys.argv[2]))).decode() + "\n")

"""csv.gz → topic, against `pyarrow.csv` alone on the decompressed bytes; and memory against the file's length."""

from __future__ import annotations

import gzip
import io
import resource
import sys
import time
from pathlib import Path

import msgspec
import pyarrow.csv

from lit.streams import topics
from lit.streams.replay import ReplayProgress, blocks, plan_files, replay
from lit.streams.workspace import Workspace


class Ingested(msgspec.Struct):
    """Rows, seconds and the process' largest memory in bytes."""

    rows: int
    seconds: float
    memory: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def long_file(sources: list[Path], target: Path, times: int) -> int:
    """Write the files' rows `times` times into one csv.gz with one header; returns how many rows."""
    bodies = [gzip.decompress(path.read_bytes()).split(b"\n", 1) for path in sources]
    with gzip.open(target, "wb", compresslevel=1) as file:
        file.write(bodies[0][0] + b"\n")
        for _ in range(times):
            for _, body in bodies:
                file.write(body)
    return times * sum(body.count(b"\n") for _, body in bodies)


def replayed(bootstrap: str, data: Path, path: Path, source: str, warm_up: Path) -> Ingested:
    """Replay a file into a new topic, the check of the whole file before it included.

    The warm-up file is read first, so that imports and calendars are loaded, as they are for the reference.
    """
    topic, workspace = topics.file_ticks("bench", source), Workspace(data, "bench")
    topics.create_topics(bootstrap, topic)
    for _ in blocks(plan_files(workspace, "refinitiv", [warm_up]), ReplayProgress(0)):
        pass
    began = time.perf_counter()
    done = replay(bootstrap, topic.name, plan_files(workspace, "refinitiv", [path]))
    return Ingested(done.sent, time.perf_counter() - began, _memory())


def parsed(path: Path) -> Ingested:
    """Parse the decompressed bytes by `pyarrow.csv`'s streaming reader, which is what bounds any ingest."""
    content = gzip.decompress(path.read_bytes())
    began = time.perf_counter()
    rows = 0
    with pyarrow.csv.open_csv(io.BytesIO(content)) as reader:
        for batch in reader:
            rows += batch.num_rows
    return Ingested(rows, time.perf_counter() - began, _memory())


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1] == "parsed":
        outcome = parsed(Path(sys.argv[2]))
    else:
        outcome = replayed(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5], Path(sys.argv[6]))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")

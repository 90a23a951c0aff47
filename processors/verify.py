"""The promises, checked by a user: live bars against their ticks, a dataset against its files.

Both recompute from the record (a tick topic, raw files) and compare bits; neither trusts what was published.
"""

from __future__ import annotations

import contextlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np

from lit.features.bars import bars_of
from lit.features.dataset import DatasetAdapter, Segment
from lit.features.intervals import Interval
from lit.processors.delivery import read_messages, read_ticks
from lit.processors.job import FrozenJob, build_numbers, frozen_features, load_job
from lit.processors.live_features import LiveFeatures, recomputed
from lit.processors.merge import PARTS
from lit.streams import topics
from lit.streams.clients import partitions_of, tick_partitions
from lit.streams.errors import UserError
from lit.streams.records import Bar, FeatureVector, decode_bars, encode_json
from lit.streams.replay import ReplayProgress, blocks, plan_files
from lit.streams.workspace import Workspace


@dataclass
class Verdict:
    """How many were compared, what differed (a sentence each), and how many nothing is left of to compare with."""

    compared: int = 0
    unknown: int = 0
    differences: list[str] = field(default_factory=list)


def verify_parity(bootstrap: str, team: str, source: str, interval: Interval) -> Verdict:
    """Compare a source's published bars with those that its recorded ticks make, byte for byte.

    A bar that was not published yet, at the end of the topic, is no difference.

    Raises
    ------
    UserError
        If the source has no ticks.
    """
    verdict = Verdict()
    topic, partitions = tick_partitions(bootstrap, team, source)
    for partition in partitions:
        published = _published(bootstrap, topics.bars(team, source, str(interval)).name, partition)
        recomputed = bars_of(read_ticks(bootstrap, topic, partition), interval)
        for symbol, bars in published.items():
            expected = list(recomputed[symbol].records(symbol, interval)) if symbol in recomputed else []
            for number, bar in enumerate(bars):
                verdict.compared += 1
                if number >= len(expected) or encode_json(bar) != encode_json(expected[number]):
                    verdict.differences.append(
                        f"{symbol} {bar.start}: published {encode_json(bar).decode()}, its ticks make "
                        + (encode_json(expected[number]).decode() if number < len(expected) else "no bar there")
                    )
                    break
    return verdict


def verify_features(workspace: Workspace, config: LiveFeatures) -> Verdict:
    """Compare a schema's published vectors with those that the stream's recorded ticks make, byte for byte.

    Each is compared with what its own version makes: that of `config`, or of an earlier build of the schema. A vector
    that was not published yet, at the end of the topic, is no difference.

    Raises
    ------
    UserError
        If the stream publishes no features of the schema.
    """
    verdict = Verdict()
    if not (partitions := partitions_of(config.bootstrap, config.topic)):
        source, schema = config.source, config.schema.name
        todo = f"`lit stream set {source} --features {schema}` lets it"
        raise UserError(f"stream {source!r} publishes no features of {schema!r}: {todo}")
    versions = {config.version: config}
    for number in build_numbers(workspace):
        with contextlib.suppress(UserError, msgspec.MsgspecError):  # of another version
            job = load_job(workspace, number)
            if job.schema.name == config.schema.name:
                of_build = replace(config, schema=job.schema, features=job.features)
                versions.setdefault(of_build.version, of_build)
    for partition in partitions:
        made: dict[str, dict[str, list[FeatureVector]]] = {}
        last: dict[str, FeatureVector] = {}
        for message in read_messages(config.bootstrap, config.topic, partition):
            vector = msgspec.json.decode(message.value(), type=FeatureVector)
            before = last.get(vector.symbol)
            if before is not None and vector.ordinal <= before.ordinal:
                continue  # a repeat
            last[vector.symbol] = vector
            if vector.version not in versions:
                verdict.unknown += 1
                continue
            if vector.version not in made:
                made[vector.version] = recomputed(versions[vector.version], partition)
            expected = _behind(made[vector.version].get(vector.symbol, []), before)
            verdict.compared += 1
            if expected is None or message.value() != encode_json(expected):
                verdict.differences.append(
                    f"{vector.symbol} tick {vector.index}: published {message.value().decode()[:200]}, its ticks make "
                    + (encode_json(expected).decode()[:200] if expected else "no sample there")
                )
    return verdict


def _behind(made: Sequence[FeatureVector], before: FeatureVector | None) -> FeatureVector | None:
    """Return the first of a symbol's vectors behind the last one published, numbered on; None: there is none."""
    if before is None:
        return made[0] if made else None
    place = bisect_right(made, before.index, key=lambda vector: vector.index)
    return msgspec.structs.replace(made[place], ordinal=before.ordinal + 1) if place < len(made) else None


def verify_dataset(workspace: Workspace, schema: str, samples: int = 200, seed: int = 0) -> Verdict:
    """Recompute random samples of an asset from its raw files, one by one, and compare bytes.

    Raises
    ------
    UserError
        If there is no such asset, or a raw file is not the one it was built from.
    """
    verdict = Verdict()
    for path in _parts(workspace, schema):
        with h5py.File(path) as file:
            job = msgspec.convert(json.loads(file.attrs["schema"]), FrozenJob)
            adapter = _adapter(workspace, job)
            features = frozen_features(job)
            count = len(file["index"])
            rows = np.random.default_rng(seed).choice(count, size=min(samples, count), replace=False)
            for row in sorted(rows.tolist()):
                index = int(file["index"][row])
                others: dict[str, Any] = {}
                for feature in features:
                    value = feature.compute(adapter, index, others)
                    stored = file[feature.name][row]
                    if value is None or value.astype(stored.dtype).tobytes() != stored.tobytes():
                        verdict.differences.append(f"{path.name} sample {row} (tick {index}): {feature.name} differs")
                        break
                    others[feature.name] = value
                verdict.compared += 1
    return verdict


def _published(bootstrap: str, topic: str, partition: int) -> dict[str, list[Bar]]:
    """Return the bars as a reader who drops repeats sees them."""
    bars: dict[str, list[Bar]] = {}
    for message in read_messages(bootstrap, topic, partition):
        for bar in decode_bars(message.value()):
            own = bars.setdefault(bar.symbol, [])
            if not own or bar.ordinal > own[-1].ordinal:
                own.append(bar)
    return bars


def _parts(workspace: Workspace, schema: str) -> Sequence[Path]:
    root = workspace.path("assets", schema)
    for folder in (root, root / "queue"):
        if found := [path for part in PARTS if (path := folder / f"{part}.h5").exists()]:
            return found
    raise UserError(f"asset {schema!r} has not been built: `lit build {schema}` builds it")


def _adapter(workspace: Workspace, job: FrozenJob) -> DatasetAdapter:
    plan = plan_files(workspace, job.schema.adapter, [Path(path) for path in job.files], job.schema.parameters)
    for file in plan.files:
        if file.digest != job.files[str(file.path)]:
            raise UserError(f"{file.path} is not the file that {job.schema.name!r} was built from: its digest differs")
    if plan.adapter.digest != job.adapter_digest:
        raise UserError(f"adapter {job.schema.adapter!r} was edited since {job.schema.name!r} was built")
    segments = [Segment(symbol, count) for symbol, count in job.segments]
    return DatasetAdapter.of_blocks((block for _, block in blocks(plan, ReplayProgress(0))), segments)

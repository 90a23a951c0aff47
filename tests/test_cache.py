"""The cache: files in any order become origins of the store, each once; the count is reconciled before it is cached."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.processors.drain import drain
from lit.streams import topics
from lit.streams.cache import await_cached, cache_file, cached_files
from lit.streams.errors import FaultError
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks


@pytest.mark.kafka
def test_files_in_any_order_are_each_stored_once(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "cache")
    topic = topics.ticks("cache", "refinitiv")
    topics.create_topics(kafka, topic)
    paths = [SAMPLES / f"IBM.N_2013100{day}.csv.gz" for day in (8, 7)]
    entries = [cache_file(workspace, "refinitiv", path, kafka, topic.name) for path in paths]
    again = cache_file(workspace, "refinitiv", paths[0], kafka, topic.name)
    assert again == entries[0] and not again.cached
    (workspace.root / "raw" / ".cached.json").unlink()  # a crash before the file was noted: nothing is sent twice
    entries = [cache_file(workspace, "refinitiv", path, kafka, topic.name) for path in paths]
    with open_store(tmp_path, None) as stores, pytest.raises(FaultError, match="sink"):
        await_cached(workspace, entries[0], stores.team("cache"), seconds=0.5)

    with open_store(tmp_path, None) as stores:
        store = stores.team("cache")
        assert drain(kafka, topic.name, "refinitiv", store) == sum(entry.ticks for entry in entries)
        tape = real_ticks("IBM.N", 2)
        for entry in entries:
            assert await_cached(workspace, entry, store).cached
        first_day = store.window("refinitiv", "IBM.N", 0, entries[1].ticks, origin=entries[1].origin)
        assert first_day.price.tobytes() == tape.price[: entries[1].ticks].tobytes()
        assert store.count("refinitiv") == len(tape)
    assert all(entry.cached for entry in cached_files(workspace).values())

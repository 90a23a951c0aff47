"""From a browser's upload to a check mark, by a real server that is killed on the way."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from lit.streams import topics
from lit.streams.store_open import open_store, running_server
from tests.tape import SAMPLES, real_ticks
from tests.test_api_server import up
from tests.test_caching import ticks_in
from tests.test_uploads import PATCH, metadata

NAME, BY_HAND = "BAC.N_20131008.csv.gz", "IBM.N_20131007.csv.gz"
CONTENT = (SAMPLES / NAME).read_bytes()
TEAM = "uploadcached"


def client(data: Path) -> httpx.Client:
    found = running_server(data)
    assert found is not None
    headers = {"Authorization": f"Bearer {found[1]}", "Tus-Resumable": "1.0.0"}
    return httpx.Client(base_url=f"{found[0]}/api/teams/{TEAM}", headers=headers, timeout=60)


def files(http: httpx.Client) -> dict[str, Any]:
    return {file["path"]: file for file in http.get("/files").json()}


@pytest.mark.kafka
@pytest.mark.fault
def test_an_upload_is_cached_by_itself_though_the_server_is_killed_twice(kafka: str, tmp_path: Path) -> None:
    with up(kafka, tmp_path) as (process, _), client(tmp_path) as http:
        headers = {
            "Upload-Length": str(len(CONTENT)),
            "Upload-Metadata": metadata(filename=NAME, sha256=hashlib.sha256(CONTENT).hexdigest()),
        }
        where = httpx.URL(http.post("/uploads", headers=headers).headers["location"]).path.split(TEAM)[1]
        assert http.patch(where, content=CONTENT[:400_000], headers={**PATCH, "Upload-Offset": "0"}).status_code == 204
        process.kill()
    with up(kafka, tmp_path) as (process, _), client(tmp_path) as http:
        offset = int(http.head(where).headers["upload-offset"])
        assert offset == 400_000
        assert (
            http.patch(where, content=CONTENT[offset:], headers={**PATCH, "Upload-Offset": str(offset)}).status_code
            == 204
        )
        shutil.copy(SAMPLES / BY_HAND, tmp_path / TEAM / "raw")
        assert files(http)[BY_HAND]["state"] == "new"
        assert http.post("/files/cache", json={"paths": [BY_HAND]}).status_code == 202
        deadline = time.monotonic() + 90
        while files(http)[NAME]["state"] == "waiting" and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    with up(kafka, tmp_path), client(tmp_path) as http:
        deadline = time.monotonic() + 120
        while not all(file["cached"] for file in files(http).values()) and time.monotonic() < deadline:
            time.sleep(0.2)
        shown = files(http)
        counts = {NAME: len(real_ticks("BAC.N", 2)) - len(real_ticks("BAC.N", 1)), BY_HAND: len(real_ticks("IBM.N", 1))}
        for name, count in counts.items():
            assert (shown[name]["state"], shown[name]["ticks"], shown[name]["rows"]) == ("cached", count, count)
        with open_store(tmp_path, None) as stores:
            assert stores.team(TEAM).count("refinitiv") == sum(counts.values())
        assert ticks_in(kafka, topics.ticks(TEAM, "refinitiv").name) == sum(counts.values())

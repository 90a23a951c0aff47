"""Discovery over HTTP: real files through Kafka into the store; windows, searches and views agree with the files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.sdk.data.caching import cache
from lit.sdk.data.files import read_files
from lit.settings import Settings
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES

pytestmark = pytest.mark.kafka
TEAM = "discover"
FILES = [SAMPLES / name for name in ("IBM.N_20131007.csv.gz", "BAC.N_20131007.csv.gz", "IBM.N_20131008.csv.gz")]


@pytest.fixture(scope="module")
def data(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("discovery")
    cache(TEAM, "refinitiv", FILES, settings=Settings(data=data, kafka=kafka))
    projects = data / TEAM / "projects"
    projects.mkdir(parents=True)
    (projects / "volatility.json").write_text(json.dumps({"paths": [str(path) for path in FILES]}))
    return data


@pytest.fixture(scope="module")
def client(kafka: str, data: Path) -> Iterator[TestClient]:
    with open_store(data, None) as stores:
        services = Services(ApiConfig(data, kafka, data / "static"), stores)
        headers = {"Authorization": f"Bearer {services.keys.admin_token}"}
        yield TestClient(create_app(services), headers=headers, base_url="http://testserver")


@pytest.fixture(scope="module")
def raw(data: Path) -> dict[str, Any]:
    """All ticks of the files as columns, read without the store."""
    memory = read_files(Workspace(data, TEAM), "refinitiv", FILES)
    every = np.arange(len(memory))
    names = ("timestamp", "Price", "Volume", "session", "Qualifiers", "Seq. No.")
    columns = {name: memory.column(name, every) for name in names}
    symbols = np.repeat([part.symbol for part in memory.layout.segments], [p.count for p in memory.layout.segments])
    return {**columns, "symbol": symbols}


def get(client: TestClient, what: str, **query: Any) -> Any:
    named = query if "path" in query else {"project": "volatility", **query}
    return client.get(f"/api/teams/{TEAM}/dataset{what}", params=named)


def table(reply: Any) -> pa.Table:
    assert reply.status_code == 200, reply.text
    return pa.ipc.open_stream(reply.content).read_all()


def test_a_dataset_says_what_it_is_made_of(client: TestClient, raw: dict[str, Any]) -> None:
    view = get(client, "").json()
    assert view["ticks"] == len(raw["Price"])
    assert [part["symbol"] for part in view["parts"]] == ["IBM.N", "BAC.N", "IBM.N"]
    assert {one["symbol"]: one["ticks"] for one in view["symbols"]} == {
        symbol: int((raw["symbol"] == symbol).sum()) for symbol in ("IBM.N", "BAC.N")
    }
    assert view["fields"]["Volume"] == "number" and view["first"].startswith("2013-10-07")
    by_path = get(client, "", path=[str(path) for path in FILES]).json()
    assert by_path == view


@pytest.mark.parametrize("first", [0, 1000, 17_000, 10**9])
def test_a_window_by_index_is_the_ticks_of_the_files(client: TestClient, raw: dict[str, Any], first: int) -> None:
    columns = ["timestamp", "Price", "Qualifiers", "Seq. No.", "symbol"]
    reply = get(client, "/window", first=first, count=180_000, column=columns)
    found = table(reply)
    rows = slice(first, first + 180_000)
    assert found.column("index").to_pylist() == list(range(len(raw["Price"]))[rows])
    for name in ("timestamp", "Price"):
        assert found.column(name).to_numpy().tobytes() == raw[name][rows].tobytes()
    assert found.column("Qualifiers").to_pylist() == raw["Qualifiers"][rows].tolist()
    assert found.column("symbol").to_pylist() == raw["symbol"][rows].tolist()
    assert reply.headers["LIT-Ticks"] == str(found.num_rows) and reply.headers["LIT-Ticks-Per-Point"] == "1"
    assert "store;dur=" in reply.headers["Server-Timing"]


def test_a_window_by_time_has_each_symbol_from_the_first_tick_at_or_after_it(
    client: TestClient, raw: dict[str, Any]
) -> None:
    start, end = "2013-10-07T15:00:00Z", "2013-10-07T11:30:00-04:00"
    edges = np.array(["2013-10-07T15:00:00", "2013-10-07T15:30:00"], "datetime64[ns]").astype(np.int64)
    expected = []
    for symbol in ("IBM.N", "BAC.N"):
        places = np.flatnonzero(raw["symbol"] == symbol)
        low, high = (int(np.argmax(raw["timestamp"][places] >= edge)) for edge in edges)
        expected += places[low:high].tolist()
    assert table(get(client, "/window", start=start, end=end)).column("index").to_pylist() == sorted(expected)
    only = table(get(client, "/window", start=start, end=end, symbol="BAC.N")).column("index").to_pylist()
    assert only == [index for index in sorted(expected) if raw["symbol"][index] == "BAC.N"]
    index = get(client, "/index", time=start, symbol="BAC.N").json()["index"]
    assert index == only[0]
    assert table(get(client, "/window", start="2030-01-01T00:00:00Z")).num_rows == 0
    assert get(client, "/index", time="2030-01-01T00:00:00Z").status_code == 400


def test_a_search_marks_points_and_counts_the_whole_dataset(client: TestClient, raw: dict[str, Any]) -> None:
    big = raw["Volume"] > 5000
    found = get(client, "/search", q="Volume > 5000", first=2000, count=9000).json()
    assert found["indices"] == np.flatnonzero(big[2000:11_000]).__add__(2000).tolist()
    assert (found["matches"], found["complete"], found["total"]) == (int(big.sum()), True, len(big))
    text = next(text for text in raw["Qualifiers"] if text)
    found = get(client, "/search", q=text.strip(), first=0, count=10).json()
    assert found["matches"] == sum(text.strip() in (own or "") for own in raw["Qualifiers"]) > 0
    nothing = get(client, "/search", q='"nowhere is this" and Volume > 0', first=0, count=100).json()
    assert (nothing["indices"], nothing["matches"]) == ([], 0)


def test_a_count_that_has_no_time_says_so_and_goes_on_when_asked_again(client: TestClient, raw: dict[str, Any]) -> None:
    query = {"q": "Price > 0 and session != 7", "first": 0, "count": 10}
    none = get(client, "/search", seconds=0, **query).json()
    assert (none["complete"], none["searched"], len(none["indices"])) == (False, 0, 10)
    assert get(client, "/search", **query).json()["matches"] == len(raw["Price"])
    remembered = get(client, "/search", seconds=0, **query).json()
    assert remembered["complete"] and remembered["matches"] == len(raw["Price"])


@pytest.mark.parametrize("points", [1, 50, 777])
def test_the_whole_at_a_glance_loses_no_extreme_and_says_what_it_is(
    client: TestClient, raw: dict[str, Any], points: int
) -> None:
    reply = get(client, "/overview", points=points)
    found = table(reply)
    per_point = int(reply.headers["LIT-Ticks-Per-Point"])
    assert per_point > 1 and found.schema.metadata[b"LIT-Ticks-Per-Point"] == str(per_point).encode()
    assert int(reply.headers["LIT-Ticks"]) == len(raw["Price"]) == sum(found.column("ticks").to_pylist())
    assert found.num_rows <= points + 3
    edges = found.column("index").to_numpy()
    for name, source, extreme in (("low", "Price", np.minimum), ("high", "Price", np.maximum),
                                  ("smallest", "Volume", np.minimum), ("largest", "Volume", np.maximum),
                                  ("start", "timestamp", np.minimum), ("end", "timestamp", np.maximum)):  # fmt: skip
        assert found.column(name).to_numpy().tobytes() == extreme.reduceat(raw[source], edges).tobytes(), name


def test_a_glance_at_few_ticks_leaves_none_out(client: TestClient, raw: dict[str, Any]) -> None:
    reply = get(client, "/overview", points=500, first=300, count=400)
    assert reply.headers["LIT-Ticks-Per-Point"] == "1"
    assert table(reply).column("low").to_numpy().tobytes() == raw["Price"][300:700].tobytes()


def test_a_packet_by_index_and_a_random_one(client: TestClient, raw: dict[str, Any]) -> None:
    packet = get(client, "/packet", index=12_345).json()
    assert (packet["index"], packet["Price"], packet["symbol"]) == (12_345, raw["Price"][12_345], raw["symbol"][12_345])
    picked = {get(client, "/random", seed=seed).json()["index"] for seed in range(6)}
    assert len(picked) == 6 and get(client, "/random", seed=3).json() == get(client, "/random", seed=3).json()
    assert {get(client, "/random", symbol="BAC.N", seed=seed).json()["symbol"] for seed in range(4)} == {"BAC.N"}


@pytest.mark.parametrize(
    ("what", "query", "words"),
    [
        ("/window", {"path": ["/etc/passwd"]}, "'/etc/passwd' is not cached"),
        ("/window", {"path": ["../../secret.csv.gz"]}, "is not cached"),
        ("/window", {"path": ["a"], "project": "volatility"}, "either by `project`"),
        ("/window", {"first": 0, "start": "2013-10-07T15:00:00Z"}, "either by first and count"),
        ("/window", {"start": "yesterday"}, "'yesterday'"),
        ("/window", {"start": "2013-10-08T15:00:00Z", "end": "2013-10-07T15:00:00Z"}, "before its start"),
        ("/window", {"symbol": "AAPL.O"}, "no symbol 'AAPL.O'"),
        ("/window", {"first": 0, "count": 10, "column": "price); DROP TABLE ticks"}, "no field"),
        ("/search", {"q": "Volum > 3"}, "'Volum'"),
        ("/search", {"q": "/(/"}, "regular expression"),
        ("/packet", {"index": 10**15}, "none of index"),
        ("", {"project": "nonesuch"}, "'nonesuch'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_a_sentence(client: TestClient, what: str, query: dict[str, Any], words: str) -> None:
    reply = client.get(f"/api/teams/{TEAM}/dataset{what}", params={"project": "volatility", **query}
                       if "path" not in query else query)  # fmt: skip
    assert reply.status_code == 400, reply.text
    assert words in reply.json()["detail"]


def test_huge_numbers_are_refused_or_cut_and_a_stranger_sees_nothing(client: TestClient) -> None:
    huge = 2**63
    for query in ({"first": huge}, {"count": huge}, {"first": huge, "count": huge}):
        assert get(client, "/window", **query).status_code in (200, 400, 422)
    assert get(client, "/overview", points=10**9).status_code == 422
    assert get(client, "/search", q="a", seconds=1e9).status_code == 422
    assert get(client, "/search", q="x" * 2000).status_code == 422
    plain = {"Authorization": "Bearer wrong"}
    assert client.get(f"/api/teams/{TEAM}/dataset", params={"project": "volatility"}, headers=plain).status_code == 401

"""The feature library over HTTP: scripts read, tried, judged, saved, compared, deleted; by users and adversaries."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.features.library import save_feature, save_script
from lit.features.schema import Schema, save_schema
from lit.sdk.data.caching import cache
from lit.sdk.data.files import read_files
from lit.settings import Settings
from lit.streams.projects import Project, save_project
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES

pytestmark = pytest.mark.kafka
FILE = "IBM.N_20131007.csv.gz"
CACHED = "BAC.N_20131007.csv.gz"
DATASET = {"paths": [FILE]}
LEAK = "def feature(adapter, index):\n    return [adapter[min(index + 1, len(adapter) - 1)]['Price']]\n"
CLEAN = '"""Price.\n\nParameters\n----------\nby : number, default 2\n\nReturns\n-------\n[ price ]\n"""\n\n'
CLEAN += "def feature(adapter, index, params={}):\n    return [adapter[index]['Price'] * params.get('by', 2)]\n"


@pytest.fixture(scope="module")
def data(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    raw = Workspace(folder, "ours").folder("raw")
    shutil.copy(SAMPLES / FILE, raw)
    cache("ours", "refinitiv", [SAMPLES / CACHED], settings=Settings(data=folder, kafka=kafka))
    save_project(Workspace(folder, "ours"), "cached", Project([str(SAMPLES / CACHED)]))
    return folder


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[TestClient]:
    with open_store(data, None) as stores:
        services = Services(ApiConfig(data, "127.0.0.1:9", data / "static"), stores)
        services.broker.teams = list  # type: ignore[method-assign, assignment]  # no broker is needed here
        with TestClient(
            create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"}
        ) as found:
            yield found


def call(client: TestClient, method: str, path: str, body: Any = None, code: int = 200) -> Any:
    reply = client.request(method, f"/api/teams/ours/{path}", json=body)
    assert reply.status_code == code, reply.text
    return reply.json() if reply.content else None


def trial(client: TestClient, **body: Any) -> Any:
    return call(client, "POST", "trials", {"dataset": DATASET, **body})


def test_scripts_are_listed_and_shown_with_form_source_and_what_uses_them(client: TestClient, data: Path) -> None:
    broken = Workspace(data, "ours").folder("scripts") / "broken.py"
    broken.write_text('"""\nParameters\n----------\nx : quaternion\n"""\n')
    listed = {script["name"]: script for script in call(client, "GET", "scripts")}
    assert listed["sma"]["plugin"] == "traders" and listed["sma"]["columns"] == ["sma", "sma_normalized"]
    assert "line 4" in listed["broken"]["error"] and "use number, integer" in listed["broken"]["error"]
    shown = call(client, "GET", "scripts/atr")
    (unit,) = [field for field in shown["form"] if field["name"] == "unit"]
    assert unit["kind"] == "choice" and "minute" in unit["choices"] and "def feature" in shown["source"]
    assert call(client, "GET", "scripts/broken")["error"] and call(client, "GET", "scripts/none", code=404)
    broken.unlink()


def test_a_source_is_validated_without_being_run(client: TestClient, tmp_path: Path) -> None:
    said = call(client, "POST", "scripts/x/validate", {"source": CLEAN, "params": {"by": "3"}})
    assert said["error"] is None and said["columns"] == ["price"] and said["params"] == {"by": 3}
    ran = tmp_path / "ran"
    said = call(client, "POST", "scripts/x/validate", {"source": f"open({str(ran)!r}, 'w')\nx ="})
    assert said["error"]["line"] == 2 and not ran.exists()
    said = call(client, "POST", "scripts/x/validate", {"source": CLEAN, "params": {"bye": 3}})
    assert "'bye' is unknown" in said["error"]["message"]


def test_a_script_is_tried_anywhere_with_values_reads_time_and_log(client: TestClient) -> None:
    result = trial(client, script="sma", params={"count": 3}, index=20_000)
    assert result["columns"] == ["sma", "sma_normalized"] and len(result["rows"]) == 3 and result["seconds"] > 0
    assert result["reads"][0]["text"] == "get_bars(i, 12, 'minute', 1)" and result["length"] == 24_293
    anywhere = trial(client, script="unit_bar", params={"count": 1})
    assert 0 <= anywhere["index"] < 24_293
    source = CLEAN.replace("    return", "    print('looking at', index)\n    return")
    result = trial(client, script="draft", source=source, index=7)
    assert result["log"] == "looking at 7\n" and result["columns"] == ["price"]
    call(client, "POST", "trials", {"dataset": DATASET, "script": "sma", "index": 10**9}, code=400)
    call(client, "POST", "trials", {"dataset": {"paths": ["../../etc/passwd"]}, "script": "sma"}, code=400)
    call(client, "POST", "trials", {"dataset": {"paths": ["none.csv.gz"]}, "script": "sma"}, code=400)
    call(client, "POST", "trials", {"dataset": DATASET, "script": "none"}, code=404)


def test_a_cached_dataset_is_read_from_the_store_at_any_index(client: TestClient, data: Path) -> None:
    files = read_files(Workspace(data, "ours"), "refinitiv", [SAMPLES / CACHED])
    for index in (0, 30_000, len(files) - 1):
        body = {"dataset": {"project": "cached"}, "script": "unit_bar", "params": {"count": 4}, "index": index}
        result = call(client, "POST", "trials", body)
        bars = files.get_bars(index, 4, "minute", 1)
        assert result["rows"] == (bars.tolist() if len(bars) == 4 else []) and result["length"] == len(files)
        assert result["reads"][0]["text"] == "get_bars(i, 4, 'minute', 1)"
    body = {"script": "unit_bar", "params": {"count": 3}, "dataset": {"project": "cached"}}
    assert call(client, "PUT", "features/on store", body)["verdict"]["kind"] == "clean"
    call(client, "DELETE", "features/on%20store", code=204)
    missing = {"dataset": {"project": "none"}, "script": "sma"}
    assert "no project 'none'" in call(client, "POST", "trials", missing, code=404)["detail"]


@pytest.mark.parametrize(
    ("body", "says", "line"),
    [
        ("print('before')\n    return [1 / 0]", "ZeroDivisionError", 3),
        ("print('before')\n    os.kill(os.getpid(), 11)", "crashed its process", 3),
        ("print('before')\n    return [len(bytearray(8 << 30))]", "MemoryError", 3),
    ],
)
def test_what_a_script_does_wrong_is_told_with_its_line_and_what_it_said_before(
    client: TestClient, body: str, says: str, line: int
) -> None:
    source = f"import os\ndef feature(adapter, index):\n    {body}\n"
    result = trial(client, script="wrong", source=source, index=5)
    assert says in result["error"]["message"] and result["error"]["line"] == line + 1
    assert result["log"] == "before\n"


def test_a_hanging_script_holds_up_nobody_else(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit.features.saving.TRY_SECONDS", 2.0)
    source = "def feature(adapter, index):\n    while True: pass\n"
    results: list[Any] = []
    hanging = threading.Thread(target=lambda: results.append(trial(client, script="h", source=source, index=5)))
    hanging.start()
    answered = 0
    while hanging.is_alive():
        began = time.monotonic()
        call(client, "GET", "scripts/sma")
        answered += time.monotonic() - began < 1.5
        time.sleep(0.05)
    assert answered > 3 and "longer than 2 s" in results[0]["error"]["message"] and results[0]["error"]["line"] == 2


def test_a_feature_is_saved_with_its_verdict_which_ages_with_its_script(client: TestClient, data: Path) -> None:
    call(client, "PUT", "scripts/mine", {"source": CLEAN})
    body = {"script": "mine", "params": {"by": 4}}
    saved = call(client, "PUT", "features/four", body)
    assert saved["verdict"]["kind"] == "clean" and saved["params"] == {"by": 4} and saved["columns"] == ["price"]
    call(client, "PUT", "features/next", {"script": "price_next_bars"})
    kinds = {feature["name"]: feature["verdict"]["kind"] for feature in call(client, "GET", "features")}
    assert kinds == {"four": "clean", "next": "label"}

    changed = call(client, "PUT", "scripts/mine", {"source": CLEAN.replace("['Price'] *", "['Volume'] *")})
    assert [verdict["feature"] for verdict in changed["verdicts"]] == ["four"]
    refused = call(client, "PUT", "scripts/mine", {"source": CLEAN.replace("[index]", "[index + 1]")}, code=400)
    assert "judged leak" in refused["detail"] and "it read adapter[i + 1]" in refused["detail"]
    refused = call(client, "PUT", "scripts/mine", {"source": CLEAN.replace("by : number", "factor : number")}, code=400)
    assert "no longer fits feature 'four'" in refused["detail"]
    assert call(client, "GET", "features/four")["verdict"]["kind"] == "clean"

    stale = {"source": CLEAN + "# mine\n", "replaces": "sha256:0"}
    assert "changed by somebody else" in call(client, "PUT", "scripts/mine", stale, code=409)["detail"]
    names = [version["name"] for version in call(client, "GET", "scripts/mine/versions")]
    assert names == ["1", "current"] and "['Price']" in call(client, "GET", "scripts/mine/versions/1")["source"]
    assert "+    return [adapter[index]['Volume']" in call(client, "GET", "scripts/mine/diff?before=1")["diff"]
    assert "no version '9'" in call(client, "GET", "scripts/mine/versions/9", code=400)["detail"]

    edited = data / "ours" / "scripts" / "mine.py"
    edited.write_text(CLEAN)  # by hand, past the judge
    assert call(client, "GET", "features/four")["verdict"] is None
    assert call(client, "POST", "features/four/judge", {})["kind"] == "clean"
    assert call(client, "GET", "features/four")["verdict"]["kind"] == "clean"


def test_what_leaks_or_differs_in_batches_is_refused_with_the_evidence(client: TestClient) -> None:
    refused = call(client, "PUT", "scripts/peek", {"source": LEAK}, code=400)
    assert "judged leak" in refused["detail"] and "prices disturbed" in refused["detail"]
    batch = "def feature_batch(adapter, indices, params, others):\n    import numpy as np\n"
    batch += "    return np.ones(len(indices), bool), adapter.column('Price', indices)[:, None] * 2.5\n"
    refused = call(client, "PUT", "scripts/peek", {"source": CLEAN + batch}, code=400)
    assert "feature_batch differs from feature at tick" in refused["detail"]
    assert "peek" not in {script["name"] for script in call(client, "GET", "scripts")}


def test_features_of_features_are_tried_judged_and_never_circular(client: TestClient, data: Path) -> None:
    twice = '"""\nParameters\n----------\nof : feature\n"""\n'
    twice += "def feature(adapter, index, params, others):\n    return others[params['of']] * 2\n"
    call(client, "PUT", "scripts/twice", {"source": twice})
    save_feature(Workspace(data, "ours"), "base", "unit_bar", {"count": 2})
    saved = call(client, "PUT", "features/double", {"script": "twice", "params": {"of": "base"}})
    assert saved["needs"] == ["base"] and saved["verdict"]["kind"] == "clean"
    rows = trial(client, feature="double", index=20_000)["rows"]
    assert rows == [[2 * v for v in row] for row in trial(client, feature="base", index=20_000)["rows"]]
    save_feature(Workspace(data, "ours"), "label", "twice", {"of": "double"})
    circle = call(client, "PUT", "features/base", {"script": "twice", "params": {"of": "label"}}, code=400)
    assert "base → label → double → base" in circle["detail"]
    in_use = call(client, "DELETE", "features/double", code=409)
    assert "'label' is computed from 'double'" in in_use["detail"]


def test_what_is_used_is_not_deleted(client: TestClient, data: Path) -> None:
    save_feature(Workspace(data, "ours"), "kept", "twice", {"of": "base"})
    save_schema(Workspace(data, "ours"), Schema("volatility", [FILE], ["kept"]))
    assert "schema 'volatility'" in call(client, "DELETE", "features/kept", code=409)["detail"]
    assert call(client, "GET", "features/kept")["schemas"] == ["volatility"]
    assert trial_of_schema(client)["length"] == 24_293
    assert "makes feature" in call(client, "DELETE", "scripts/twice", code=409)["detail"]
    assert "shipped by a plugin" in call(client, "DELETE", "scripts/sma", code=400)["detail"]
    (data / "ours" / "schemas" / "volatility.json").unlink()
    call(client, "DELETE", "features/kept", code=204)
    call(client, "DELETE", "features/kept", code=404)
    save_script(Workspace(data, "ours"), "spare", CLEAN)
    call(client, "DELETE", "scripts/spare", code=204)
    assert [one["name"] for one in call(client, "GET", "scripts/spare/versions")] == ["1"]


def trial_of_schema(client: TestClient) -> Any:
    body = {"dataset": {"schema": "volatility"}, "script": "unit_bar", "params": {"count": 1}, "index": 20_000}
    return call(client, "POST", "trials", body)


def test_a_viewer_reads_and_runs_nothing(client: TestClient) -> None:
    made = client.post("/api/keys", json={"name": "page", "role": "viewer", "teams": ["ours"]}).json()
    mine = {"Authorization": f"Bearer {made['token']}"}
    assert client.get("/api/teams/ours/features", headers=mine).status_code == 200
    for method, path in [("PUT", "scripts/x"), ("PUT", "features/x"), ("POST", "trials"), ("DELETE", "features/x")]:
        assert client.request(method, f"/api/teams/ours/{path}", headers=mine, json={}).status_code == 403
    assert client.get("/api/teams/others/features", headers=mine).status_code == 403

"""Alerts: each condition told once when it begins and once when it ends; webhooks tried again, signed; the monitor."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.api.config import ApiConfig
from lit.api.monitor import Watched
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.processors.delivery import read_partition
from lit.serving.alerts import AlertBook, Facts, Rules
from lit.serving.config import SHADOW
from lit.serving.drift import Shift
from lit.serving.health import Health
from lit.serving.notify import Notifier
from lit.serving.opening import Deployment, Output
from lit.serving.partition import HEALTH
from lit.serving.regression_measures import RegressionSums
from lit.serving.score_report import Measures
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.errors import UserError
from lit.streams.records import Event, Score, encode_json
from lit.streams.store_open import open_store
from lit.streams.tick import from_iso, iso, iso_ms


@given(st.lists(st.floats(0, 200), max_size=40), st.sampled_from(["lag", "accuracy"]))
def test_a_condition_is_told_when_it_begins_and_when_it_ends_and_never_twice(values: list[float], rule: str) -> None:
    rules, book, told = Rules(lag=100, accuracy=0.5, scores=1), AlertBook("d"), []
    for value in values:
        facts = Facts(lag=value) if rule == "lag" else Facts(recent={"m": Measures(10, accuracy=value / 200)})
        alerts = [alert for alert in book.judge(rules, facts) if alert.rule == rule]
        for alert in alerts:
            if alert.status == "raised":
                assert alert.value > 100 if rule == "lag" else alert.value < 0.5
            else:
                assert alert.value <= 90 if rule == "lag" else alert.value >= 0.55
        told += [alert.status for alert in alerts]
    assert told == (["raised", "cleared"] * len(told))[: len(told)]


def test_what_stands_is_kept_over_a_restart_and_a_rule_that_is_gone_tells_no_more() -> None:
    rules = Rules(drift=0.25, silence=60)
    first = AlertBook("d")
    told = first.judge(rules, Facts(drift={"m": {"bars.close": 0.4, "bars.open": 0.1}}, silent_seconds=61))
    assert [(a.rule, a.subject, a.status) for a in told] == [
        ("drift", "m", "raised"),
        ("silence", "predictions", "raised"),
    ]
    assert "0.4" in told[0].sentence and "bars.close" in told[0].sentence
    again = AlertBook("d", first.standing)
    assert again.judge(rules, Facts(drift={"m": {"bars.close": 0.4, "bars.open": 0.1}}, silent_seconds=90)) == []
    assert again.judge(rules, Facts()) == [] and len(again.standing) == 2  # nothing is known: nothing has ended
    assert again.judge(Rules(silence=60), Facts(silent_seconds=1))[0].status == "cleared"
    assert again.standing == set()


def test_wrong_rules_are_refused_in_a_sentence() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"drifts": 1}, "drifts"),
        ({"lag": -1}, "lag"),
        ({"drift": "abc"}, "alert drift is 'abc': give a number"),
        ({"accuracy": 55}, "accuracy is 55: it is a share"),
        ({"scores": 1000}, "scores is 1000: give a number from 1 to 500"),
        ({"calendar": "NOPE"}, "'NOPE' has no calendar"),
    ]
    for address in ("ftp://x", "http://", "http://[", "http://host:port/", "http://host:99999/"):
        wrong.append(({"webhook": address}, "is no address: write it as https://"))
    for raw, words in wrong:
        with pytest.raises(UserError, match=words):
            Rules.of(raw)


def test_what_stood_of_a_model_that_left_the_deployment_is_forgotten() -> None:
    rules, book = Rules(drift=0.25, brier=0.3, scores=1), AlertBook("d")
    bad = {"drift": {"a": {"x.y": 1.0}, "b": {"x.y": 1.0}}, "recent": {name: Measures(9, brier=0.9) for name in "ab"}}
    assert len(book.judge(rules, Facts(**bad, models=frozenset("ab")))) == 4  # type: ignore[arg-type]
    assert book.judge(rules, Facts(models=frozenset("b"))) == []
    assert book.standing == {("drift", "b"), ("brier", "b")}


def test_columns_that_drift_together_are_told_together() -> None:
    columns = {f"bars.{name}": value for name, value in zip("abcde", (0.3, 0.9, 0.1, 0.5, 0.4), strict=True)}
    book = AlertBook("d")
    (told,) = book.judge(Rules(drift=0.25), Facts(drift={"m": columns}))
    assert told.sentence == "deployment d: drift of m is 0.9 (bars.b, bars.d, bars.e and 1 more), above 0.25"
    assert book.judge(Rules(drift=0.25), Facts(drift={"m": {**columns, "bars.b": 0.24}})) == []  # others still do
    assert book.judge(Rules(drift=0.25), Facts(drift={"m": dict.fromkeys(columns, 0.2)}))[0].status == "cleared"


def test_the_error_of_predicted_numbers_has_a_threshold() -> None:
    sums = RegressionSums([([1.0], [2.0])] * 3)
    book, facts = AlertBook("d"), Facts(recent={"m": Measures(3, regression=sums.measures()), "c": Measures(3)})
    assert [(a.rule, a.subject, a.value) for a in book.judge(Rules(rmse=0.9, scores=3), facts)] == [("rmse", "m", 1.0)]
    assert AlertBook("d").judge(Rules(rmse=1.1, scores=3), facts) == []


NIGHT, MORNING = from_iso("2024-03-05T13:00:00Z") / 1e9, from_iso("2024-03-05T14:30:01Z") / 1e9


def watched(alerts: dict[str, Any], models: list[str]) -> Watched:
    file = Deployment("up", "tape", Output(models=models), alerts=alerts)
    return Watched("t", file, False, AlertBook("up"), since=NIGHT)


def test_silence_begins_with_the_session_and_with_the_first_model() -> None:
    one = watched({"silence": 60, "calendar": "XNYS"}, ["m"])
    one.predicted_at = NIGHT - 40_000  # yesterday, at the close
    assert one.facts(NIGHT).silent_seconds is None
    assert one.facts(MORNING).silent_seconds == 0  # the exchange has just opened
    assert one.facts(MORNING + 61).silent_seconds == 61
    empty = watched({"silence": 60}, [])
    assert empty.facts(NIGHT + 5000).silent_seconds is None
    empty.file = Deployment("up", "tape", Output(models=["m"]))
    assert empty.facts(NIGHT + 5001).silent_seconds == 0


def test_silence_that_stands_ends_by_a_prediction_and_not_by_a_restart_of_the_server() -> None:
    one = watched({"silence": 60}, ["m"])
    one.book.standing.add(("silence", "predictions"))
    assert one.facts(NIGHT + 1).silent_seconds is None  # nothing is known yet
    one.predicted_at = NIGHT - 500
    assert one.facts(NIGHT + 2).silent_seconds == 502
    one.predicted_at = NIGHT + 3
    assert one.book.judge(Rules(silence=60), one.facts(NIGHT + 4))[0].status == "cleared"


def test_lag_that_stands_does_not_end_because_the_worker_died() -> None:
    one, rules = watched({"lag": 1000}, ["m"]), Rules(lag=1000)
    one.health[0] = Health("up", 0, iso_ms(int(NIGHT * 1e9)), 7, 5000, {}, None, None)
    assert [alert.status for alert in one.book.judge(rules, one.facts(NIGHT + 1))] == ["raised"]
    assert one.facts(NIGHT + 60).lag is None and one.book.judge(rules, one.facts(NIGHT + 60)) == []
    one.health[0] = Health("up", 0, iso_ms(int((NIGHT + 90) * 1e9)), 9, 0, {}, None, None)
    assert [alert.status for alert in one.book.judge(rules, one.facts(NIGHT + 91))] == ["cleared"]


def test_a_deployment_that_predicts_on_request_is_never_silent() -> None:
    one = watched({"silence": 60}, ["m"])
    one.on_request = True
    assert one.facts(NIGHT + 5000).silent_seconds is None


@contextmanager
def receiver(refusals: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A webhook that refuses the first posts."""
    posts: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((dict(self.headers), body))
            self.send_response(503 if len(posts) <= refusals else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/alerts", posts
    finally:
        server.shutdown()
        server.server_close()


def until(condition: Any, what: Any = "") -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.05)


@pytest.mark.kafka
def test_a_webhook_is_tried_until_it_answers_and_can_check_who_wrote(kafka: str) -> None:
    with receiver(refusals=2) as (address, posts):
        rules = Rules(lag=1, webhook=address, secret="s3cret")
        (alert,) = AlertBook("d").judge(rules, Facts(lag=5))
        notifier = Notifier(kafka, attempts=(0.05, 0.05, 0.05))
        notifier.tell("hooked", alert, rules)
        until(lambda: len(posts) == 3)
        notifier.close()
    headers, body = posts[-1]
    assert len({post[0]["X-LIT-Id"] for post in posts}) == 1
    expected = hmac.new(b"s3cret", headers["X-LIT-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-LIT-Signature"] == f"sha256={expected}"
    assert json.loads(body)["sentence"] == alert.sentence
    events = [msgspec.json.decode(v, type=Event) for v in read_partition(kafka, topics.events("hooked").name, 0)]
    assert [(e.kind, e.name, e.status) for e in events] == [("alert", "d", "raised")]


@pytest.mark.kafka
def test_a_webhook_that_never_answers_keeps_no_other_waiting_and_its_own_posts_stay_in_order(kafka: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, receiver(refusals=1) as (address, posts):
        notifier = Notifier(kafka, attempts=(0.05, 0.05))
        book, lost = AlertBook("d"), f"http://127.0.0.1:{silent.getsockname()[1]}/"
        (alert,) = book.judge(Rules(lag=1), Facts(lag=5))
        (back,) = book.judge(Rules(lag=1), Facts(lag=0))
        for hook in (lost, "http://no.\u200bhost/", address):  # the first takes the connection and says nothing
            for one in (alert, back):
                notifier.tell("hooked", one, Rules(lag=1, webhook=hook))
        until(lambda: len(posts) == 3)
        assert [json.loads(body)["status"] for _, body in posts] == ["raised", "raised", "cleared"]
        silent.settimeout(10)
        silent.accept()[0].close()  # it was asked, and is still being waited for
    notifier.close()


@pytest.mark.kafka
def test_the_server_reports_compares_and_alerts_and_a_viewer_sees_no_secret(kafka: str, tmp_path: Path) -> None:
    team, sender = "watching", producer(kafka)
    folder = tmp_path / team / "preview"
    folder.mkdir(parents=True)
    topics.create_topics(kafka, topics.ticks(team, "tape"), topics.state(team, "deployment", "up"))
    topics.create_topics(kafka, *(topics.scores(team, name) for name in ("up", "up" + SHADOW)))

    def publish(model: str, name: str, ordinal: int, p: float, came: float) -> None:
        start = iso(ordinal * 60 * 10**9)
        row = Score("up", model, "A", "1minute", start, ordinal, [p], "", ordinal, "", 1.0, [came])
        sender.produce(topics.scores(team, name).name, encode_json(row), b"A", partition=0)

    with receiver(refusals=0) as (address, posts), open_store(tmp_path, None) as stores:
        rules = {"accuracy": 0.4, "scores": 20, "drift": 0.25, "webhook": address, "secret": "hidden"}
        file = {"name": "up", "stream": "tape", "output": {"models": ["old"], "shadow": ["new"]}, "alerts": rules}
        (folder / "up.json").write_text(json.dumps(file))
        wrong = {
            **file,
            "name": "aaa",
            "alerts": {"silence": 1, "calendar": "NOPE"},
        }  # judged first, and no other's loss
        (folder / "aaa.json").write_text(json.dumps(wrong))
        services = Services(ApiConfig(tmp_path, kafka), stores)
        bearer = {"Authorization": f"Bearer {services.keys.admin_token}"}
        with listening("127.0.0.1", 0) as listener, serving(services, listener) as url:
            client = httpx.Client(base_url=f"{url}/api/teams/{team}/deployments", headers=bearer, timeout=60)
            for ordinal in range(60):
                came = float(ordinal % 2)
                for model, name, p in (("old", "up", 1 - came), ("new", "up" + SHADOW, 0.2 + 0.6 * came)):
                    for _ in range(1 + ordinal % 2):  # some are there twice
                        publish(model, name, ordinal, p, came)
            moved = {"old": {"bars.close": Shift([100, 100], [95, 25], 120)}}
            health = Health("up", 0, iso_ms(time.time_ns()), 9, 2, {"old": 60}, 3.0, 9.0, None, moved)
            sender.produce(topics.state(team, "deployment", "up").name, encode_json(health), HEALTH, partition=0)
            assert sender.flush(30) == 0

            def report() -> Any:
                return client.get("/up/report").json()

            until(lambda: [m["since_start"]["scored"] for m in report()["models"]] == [60, 60], report)
            old, new = report()["models"]
            assert (old["since_start"]["accuracy"], old["shadow"]) == (0.0, False)
            assert (new["recent"]["auc"], new["shadow"]) == (1.0, True)
            assert [bin_["observed"] for bin_ in new["calibration"]] == [0.0, 1.0]
            (comparison,) = report()["comparisons"]
            assert comparison["better"] == "new" and comparison["bars"] == 60
            assert [m["model"] for m in client.get("/up/report?shadow=false").json()["models"]] == ["old"]

            until(lambda: len(posts) >= 2, report)
            time.sleep(3.0)  # judged again meanwhile
            assert sorted(json.loads(body)["rule"] for _, body in posts) == ["accuracy", "drift"]
            shown = client.get("/up/health").json()
            assert shown["lag"] == 2 and shown["latency_ms_p99"] == 9.0
            metrics = client.get(f"{url}/api/metrics").text
            labels = f'deployment="up",team="{team}"'
            assert f"lit_deployment_lag_messages{{{labels}}} 2.0\n" in metrics
            assert f'lit_deployment_latency_seconds{{deployment="up",quantile="0.99",team="{team}"}} 0.009' in metrics
            assert {(one["rule"], one["subject"]) for one in shown["standing"]} == {
                ("accuracy", "old"),
                ("drift", "old"),
            }
            (_, view) = client.get(f"{url}/api/teams/{team}/deployments").json()
            assert (
                view["alerts"]["webhook"] == address
                and "hidden" not in client.get(f"{url}/api/teams/{team}/deployments").text
            )
            body = {**file, "alerts": view["alerts"]}
            assert client.put("/up", json=body).status_code == 200
            assert json.loads((folder / "up.json").read_text())["alerts"]["secret"] == "hidden"
            assert client.post("/up/models/new/promote").json()["models"] == ["new"]
            assert client.get(f"{url}/api/teams/{team}/deployments").json()[1]["shadow"] == ["old"]
            # since then they have scores in each other's topic: older and newer ones are read in no order
            for model, name, ordinals in (("new", "up", range(60, 70)), ("old", "up" + SHADOW, range(60, 65))):
                for ordinal in ordinals:
                    publish(model, name, ordinal, 0.5, 0.0)
            publish("new", "up" + SHADOW, 70, 0.5, 0.0)
            assert sender.flush(30) == 0
            until(lambda: [m["since_start"]["scored"] for m in report()["models"]] == [71, 65], report)
            assert client.put("/up", json={**file, "parameters": {"interval": "5minute"}}).status_code == 409
    events = [msgspec.json.decode(v, type=Event) for v in read_partition(kafka, topics.events(team).name, 0)]
    assert sorted((e.kind, e.status) for e in events) == [
        ("alert", "raised"),
        ("alert", "raised"),
        ("deployment", "stopped"),
    ]

"""Supervision: what to do next as a pure function, and real processes that end, fail, hang and are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.api.config import ApiConfig
from lit.api.errors import NotFoundError
from lit.api.reconcile import (
    LONGEST_DELAY,
    STEADY_SECONDS,
    Forget,
    Promote,
    Start,
    StartNext,
    Stop,
    StopNext,
    WorkerState,
    after_exit,
    plan,
    settled,
    started,
)
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.api.supervisor import Supervisor
from lit.api.workers import WorkerSpec, WorkerStatus
from lit.streams import topics
from lit.streams.store_http import HttpStores

NOWHERE = Path("/nowhere")


def spec(name: str, *argv: str, role: str = "bars", log: Path = NOWHERE) -> WorkerSpec:
    return WorkerSpec(name, role, argv or ("run", name), log)


@given(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_carrying_the_plan_out_leads_to_what_is_desired(wanted: set[str], running: set[str], changed: set[str]) -> None:
    desired = [spec(name) for name in wanted]
    known = {n: started(None, spec(n, "old") if n in changed else spec(n), 1, 0.0) for n in running}
    for _ in range(3):
        for action in plan(desired, known, 0.0):
            match action:
                case Start(new):
                    assert new.name not in known or known[new.name].pid is None
                    known[new.name] = started(known.get(new.name), new, 2, 0.0)
                case Stop(name):
                    known[name] = replace(known[name], pid=None, status="backoff")
                case Forget(name):
                    del known[name]
    assert plan(desired, known, 0.0) == []
    assert {name: state.spec for name, state in known.items()} == {s.name: s for s in desired}
    assert all(state.pid is not None for state in known.values())


def test_failures_wait_longer_each_time_and_a_steady_life_makes_up_for_them() -> None:
    state, delays = started(None, spec("a"), 1, 0.0), []
    for round_ in range(12):
        state = after_exit(state, 70, "broker gone", now=float(round_), jitter=0.999)
        delays.append(state.not_before - round_)
        assert plan([state.spec], {"a": state}, state.not_before - 0.01) == []
        assert plan([state.spec], {"a": state}, state.not_before) == [Start(state.spec)]
        state = started(state, state.spec, 1, float(round_))
    assert delays == sorted(delays) and delays[0] < 1 and LONGEST_DELAY * 0.9 < delays[-1] <= LONGEST_DELAY
    assert state.restarts == 12 and state.last_error == "broker gone (exit code 70)"
    steady = after_exit(state, -9, None, now=state.since + STEADY_SECONDS, jitter=0.0)
    assert steady.failures == 1 and steady.last_error == "signal 9"


def test_a_users_mistake_is_not_tried_again_until_its_command_changes() -> None:
    state = after_exit(started(None, spec("a"), 1, 0.0), 2, "stream 'x' is unknown", 1.0, 0.5)
    assert (state.status, state.last_error) == ("failed", "stream 'x' is unknown")
    assert plan([spec("a")], {"a": state}, 1e9) == []
    assert plan([spec("a", "other")], {"a": state}, 1.0) == [Start(spec("a", "other"))]
    assert started(state, spec("a", "other"), 5, 2.0).restarts == 0


def test_a_replay_that_came_to_its_end_rests_but_a_processor_that_ends_is_restarted() -> None:
    replay = after_exit(started(None, spec("r", role="stream"), 1, 0.0), 0, None, 9.0, 0.0)
    assert replay.status == "stopped" and plan([replay.spec], {"r": replay}, 1e9) == []
    assert after_exit(started(None, spec("b"), 1, 0.0), 0, None, 9.0, 0.0).status == "backoff"


def test_a_worker_runs_once_it_has_lived_a_little() -> None:
    state = started(None, spec("a"), 1, 0.0)
    assert settled(state, 0.1).status == "starting" and settled(state, 5.0).status == "running"


@contextmanager
def supervising(specs: list[WorkerSpec], folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(lambda: list(specs), folder)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


def until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, supervisor.statuses()
        time.sleep(0.02)


def one(supervisor: Supervisor, name: str) -> WorkerStatus | None:
    return next((status for status in supervisor.statuses() if status.name == name), None)


def test_a_killed_worker_comes_back_and_all_end_with_the_supervisor(tmp_path: Path) -> None:
    specs = [spec("a", "sleep", "60", log=tmp_path / "a.log")]
    with supervising(specs, tmp_path) as supervisor:
        until(lambda: bool((s := one(supervisor, "a")) and s.status == "running"), supervisor)
        first = one(supervisor, "a").pid  # type: ignore[union-attr]
        os.kill(first, signal.SIGKILL)  # type: ignore[arg-type]
        until(lambda: one(supervisor, "a").pid not in (None, first), supervisor)  # type: ignore[union-attr]
        status = one(supervisor, "a")
        assert status is not None and status.restarts == 1 and status.last_error == "signal 9"
    assert status.pid is not None and not psutil.pid_exists(status.pid)


def test_a_worker_with_a_mistake_is_failed_with_its_last_sentence_until_it_is_restarted(tmp_path: Path) -> None:
    once = tmp_path / "once"
    script = f"test -e {once} && exec sleep 60; touch {once}; echo stream x is unknown >&2; exit 2"
    specs = [spec("a", "sh", "-c", script, log=tmp_path / "a.log")]
    with supervising(specs, tmp_path) as supervisor:
        until(lambda: bool((s := one(supervisor, "a")) and s.status == "failed"), supervisor)
        assert one(supervisor, "a").last_error == "stream x is unknown"  # type: ignore[union-attr]
        supervisor.restart("a")
        until(lambda: one(supervisor, "a").status == "running", supervisor)  # type: ignore[union-attr]
        with pytest.raises(NotFoundError, match="'b'"):
            supervisor.restart("b")


def test_a_worker_that_cannot_be_started_waits_and_others_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    specs = [spec("a", "sleep", "60", log=tmp_path / "file/a.log"), spec("b", "sleep", "60", log=tmp_path / "b.log")]
    with supervising(specs, tmp_path) as supervisor:
        until(lambda: bool((s := one(supervisor, "b")) and s.status == "running"), supervisor)
        status = one(supervisor, "a")
        assert status is not None and status.pid is None and "could not be started" in str(status.last_error)


def test_a_changed_command_replaces_the_worker_and_a_removed_one_ends(tmp_path: Path) -> None:
    specs = [spec("a", "sleep", "60", log=tmp_path / "a.log")]
    with supervising(specs, tmp_path) as supervisor:
        until(lambda: one(supervisor, "a") is not None, supervisor)
        first = one(supervisor, "a").pid  # type: ignore[union-attr]
        specs[0] = spec("a", "sleep", "61", log=tmp_path / "a.log")
        supervisor.wake()
        until(lambda: one(supervisor, "a").pid not in (None, first), supervisor)  # type: ignore[union-attr]
        assert not psutil.pid_exists(first)  # type: ignore[arg-type]
        specs.clear()
        supervisor.wake()
        until(lambda: supervisor.statuses() == [], supervisor)


def test_workers_of_a_killed_supervisor_are_ended_by_the_next(tmp_path: Path) -> None:
    child = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    other = psutil.Popen(["sleep", "60"])
    state = '{"a": {"pid": %d, "create_time": %r, "argv": []}, "b": {"pid": %d, "create_time": 1.0, "argv": []}}'
    (tmp_path / "workers.json").write_text(state % (child.pid, child.create_time(), other.pid))
    try:
        with supervising([], tmp_path):
            assert child.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for process in (child, other):
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.mark.kafka
def test_what_should_run_follows_the_files_and_topics(kafka: str, tmp_path: Path) -> None:
    services = Services(ApiConfig(tmp_path, kafka, embedded=True), HttpStores("http://127.0.0.1:9", ""))
    (tmp_path / "watched/streams").mkdir(parents=True)
    (tmp_path / "watched/preview").mkdir()
    (tmp_path / "watched/streams/feed.json").write_text('{"adapter": {"name": "replay"}, "parameters": {}}')
    (tmp_path / "watched/streams/broken.json").write_text("{")
    (tmp_path / "watched/preview/first.json").write_text(
        '{"name": "first", "output": {"models": ["m"]}, "stream": "feed", "parameters": {"interval": "5minute"}}'
    )
    topics.create_topics(kafka, topics.ticks("watched", "tape"), topics.ticks("watched", "build-1"))
    topics.create_topics(kafka, topics.ticks("watched", "refinitiv"))
    deadline = time.monotonic() + 30
    expected = {
        "watched/stream.feed", "watched/bars.feed", "watched/sink.feed", "watched/deployment.first",
        "watched/bars.tape", "watched/sink.tape", "watched/sink.refinitiv",
    }  # fmt: skip
    specs: dict[str, WorkerSpec] = {}
    while set(specs) != expected and time.monotonic() < deadline:  # the broker tells of new topics a little later
        services.broker.forget()
        specs = {s.name: s for s in desired_workers(services) if s.name.startswith("watched/")}
        time.sleep(0.05)
    assert set(specs) == expected
    assert specs["watched/bars.feed"].argv[-1] == "1minute,5minute"


@given(
    st.sampled_from(["same", "changed", "gone", "changed twice"]),
    st.booleans(),
    st.sampled_from(["works", "fails"]),
    st.lists(st.sampled_from(["old dies", "successor dies", "nothing"]), max_size=3),
)
def test_a_handover_leads_to_what_is_desired_and_stops_nothing_before_its_successor_is_ready(
    wish: str, renew: bool, successor: str, faults: list[str]
) -> None:
    old = WorkerSpec("a", "deployment", ("run",), NOWHERE, "1", handover=True)
    new = replace(old, revision={"same": "1", "changed": "2", "gone": "", "changed twice": "3"}[wish])
    desired = [] if wish == "gone" else [new]
    known = {"a": replace(started(None, old, 1, 0.0), renew=renew)}
    following: dict[str, WorkerState] = {}
    if wish == "changed twice":
        following["a"] = started(None, replace(old, revision="2"), 2, 0.0)
    ready: set[str] = set()
    for step in range(16):
        now = step * 100.0
        fault = faults[step] if step < len(faults) else "nothing"
        if fault == "old dies" and "a" in known and known["a"].pid:
            known["a"] = after_exit(known["a"], -9, None, now, 0.5)
        if fault == "successor dies" and "a" in following and following["a"].pid:
            following["a"] = after_exit(following["a"], -9, None, now, 0.5)
            ready.clear()
        for action in plan(desired, known, now, following, ready):
            match action:
                case Start(spec):
                    following.pop("a", None)
                    known["a"] = started(known.get("a"), spec, 10 + step, now)
                case StartNext(spec):
                    following["a"] = started(following.get("a"), spec, 10 + step, now)
                    ready = set()
                case StopNext(_):
                    del following["a"]
                    ready = set()
                case Stop(_):
                    assert wish == "gone" or "a" in ready
                    known["a"] = replace(known["a"], pid=None, status="backoff", not_before=now)
                case Promote(_):
                    known["a"], ready = following.pop("a"), set()
                case Forget(_):
                    del known["a"]
        if "a" in following and following["a"].pid and following["a"].since < now:
            if successor == "works":
                ready = {"a"}
            else:
                following["a"] = after_exit(following["a"], 2, "no such model", now, 0.5)
                known["a"] = replace(known["a"], renew=False)
    if wish == "gone":
        assert known == {}
    elif successor == "works" or "old dies" in faults:
        assert known["a"].pid and known["a"].spec.revision in (new.revision, "1") and not ready
        assert successor == "fails" or known["a"].spec == new
    else:
        assert known["a"].pid == 1  # the worker before a bad change goes on
    assert known == {} or plan(desired, known, 1e9, following, ready) == []


def test_a_successor_takes_over_when_it_is_ready_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    script = (
        'import sys, time, pathlib; pathlib.Path(sys.argv[4]).touch() if "--ready" in sys.argv else 0; time.sleep(60)'
    )
    log = tmp_path / "a.log"
    good = WorkerSpec("a", "deployment", (sys.executable, "-c", script), log, "1", handover=True)
    specs = [good]
    with supervising(specs, tmp_path) as supervisor:
        until(lambda: bool((s := one(supervisor, "a")) and s.status == "running"), supervisor)
        first = one(supervisor, "a").pid  # type: ignore[union-attr]
        script = f"echo no such model >&2; echo 09:30 {first} INFO goes on; exit 2"
        specs[0] = replace(good, argv=("sh", "-c", script), revision="2")
        supervisor.wake()
        until(lambda: "no such model" in str(one(supervisor, "a").last_error), supervisor)  # type: ignore[union-attr]
        assert one(supervisor, "a").pid == first  # type: ignore[union-attr]
        specs[0] = replace(good, revision="3")
        supervisor.wake()
        until(lambda: one(supervisor, "a").pid not in (None, first), supervisor)  # type: ignore[union-attr]
        assert not psutil.pid_exists(first)  # type: ignore[arg-type]
        second = one(supervisor, "a").pid  # type: ignore[union-attr]
        supervisor.restart("a")
        until(lambda: one(supervisor, "a").pid not in (None, second), supervisor)  # type: ignore[union-attr]

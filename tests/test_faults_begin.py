"""Deployments that begin while bars are half told: windows are right, whatever was recorded when."""

from __future__ import annotations

import random
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lit.features.bars import BarBuilder, Bars
from lit.features.intervals import Interval
from lit.processors.bar_partition import BarPartition
from lit.processors.bars_config import BarsConfig
from lit.processors.delivery import TransactionalPartition, read_messages
from lit.serving.partition import DeploymentPartition
from lit.serving.recorded import Source
from lit.streams.tick import TickBlock
from tests.fault_worker import BARS_ONLY, bars_config
from tests.faults import Served, check_bars, check_served, log_of, until, worker
from tests.market import MINUTE, Market, flowing, published_bars, send

pytestmark = [pytest.mark.kafka, pytest.mark.fault]


def test_a_deployment_begins_right_while_bars_are_written_and_others_states_are_not(
    kafka: str, market: Market, rng: random.Random
) -> None:
    name, items = f"moment{rng.randrange(10**6)}", market.items
    recorder = bars_config(kafka, name)
    recorder.create_topics()
    warm, late = len(items) // 3, 2 * len(items) // 3
    send(kafka, recorder.ticks_topic, items[:warm], partition=0)
    behind, ahead = (Served(kafka, market, f"{name}-{kind}", name) for kind in ("behind", "ahead"))
    number = rng.randrange(2, 25)
    print(f"killed after {number} transactions of bars alone")
    with worker("bars", kafka, market, name, name, f"{BARS_ONLY}:{number}:SIGKILL") as process:
        bars = recorder.bars_topic(MINUTE)
        until(lambda: process.poll() is not None or bool(published_bars(kafka, bars)), log_of(market, name))
        with flowing(kafka, recorder.ticks_topic, items[warm:late], 0.02, partition=0):
            assert process.wait(120) == -signal.SIGKILL
    states = {key: state.applied for (key, _), state in behind.partition._source.builders().items()}
    assert len(set(states.values())) > 1, "no state was behind the others"
    behind.take(rng.randrange(warm, max(states.values())))
    ahead.take(min(states.values()))
    ahead.partition.save()
    ahead.take(late)
    new = Served(kafka, market, f"{name}-new", name)
    assert ahead.since == behind.since < new.since
    behind.begin()
    ahead.begin()
    with worker("bars", kafka, market, name, name):
        send(kafka, recorder.ticks_topic, items[late:], partition=0)
        for served in (behind, ahead, new):
            served.take(len(items))
        check_bars(kafka, market, name)
    for served in (behind, ahead, new):
        check_served(kafka, market, served.config, served.since)


def take_all(partition: BarPartition) -> None:
    """Let a bars worker's partition take what there is, and write all states."""
    for message in messages(partition):
        partition.take(message)
    time.sleep(0.11)  # a pause, in which all states are due
    partition.write(partition.close_group())


def messages(partition: BarPartition) -> list[Any]:
    """All input of a bars worker's partition, as Faust's consumer hands it over."""
    config = partition._config
    return [
        SimpleNamespace(offset=m.offset(), key=m.key(), value=m.value(), headers=m.headers())
        for m in read_messages(config.bootstrap, config.ticks_topic, 0)
    ]


def test_bars_of_a_new_interval_do_not_say_that_they_are_as_far_as_the_others(
    kafka: str, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, five = f"interval{random.randrange(10**6)}", Interval.parse("5minute")
    both = BarsConfig(kafka, "demo", name, (MINUTE, five))
    both.create_topics()
    items = market.items[:200]
    send(kafka, both.ticks_topic, items, partition=0)
    take_all(BarPartition(bars_config(kafka, name), 0))
    monkeypatch.setattr("lit.processors.bar_partition.QUIET_SECONDS", 1e9)
    monkeypatch.setattr("lit.processors.bar_partition.GROUP_SECONDS", 1e9)
    monkeypatch.setattr("lit.processors.bar_partition.CLOSED_SECONDS", 0.0)
    partition = BarPartition(both, 0)
    for message in messages(partition):
        partition.take(message)
        if partition.due:
            partition.write(partition.close_group())
            break
    written = {symbol for symbol, interval in Source(kafka, "demo", name, 0).builders() if interval == str(five)}
    assert len(written) == 1, "the first symbol's bar was to be written without the others"
    served = Served(kafka, market, f"{name}-served", name, five)
    for symbol in market.tapes:
        blocks = [item for item in items if item.symbol == symbol and isinstance(item, TickBlock)]
        builder = BarBuilder(five)
        expected = Bars.concat([builder.update(block) for block in blocks])
        seen = served.partition._symbols[symbol].feed.window.bars_of(five).bars
        assert seen.values.tolist() == expected.values.tolist() and len(seen) > 2


def test_a_deployment_that_was_stopped_for_long_goes_on_with_the_windows_of_then(
    kafka: str, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit.serving.recorded.KEPT_BARS", 10)
    name, items = f"long{random.randrange(10**6)}", market.items
    recorder = bars_config(kafka, name)
    recorder.create_topics()
    early = len(items) // 4
    send(kafka, recorder.ticks_topic, items[:early], partition=0)
    served = Served(kafka, market, f"{name}-served", name)
    send(kafka, recorder.ticks_topic, items[early:], partition=0)
    take_all(BarPartition(recorder, 0))
    recorded = published_bars(kafka, recorder.bars_topic(MINUTE))
    assert max(map(len, recorded.values())) > 5 * 10, "the bars of then were to be out of reach"
    served.begin()
    check_served(kafka, market, served.config, served.since)


def test_a_restart_that_is_killed_on_its_way_predicts_nothing_twice(
    kafka: str, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"lowered{random.randrange(10**6)}"
    recorder = bars_config(kafka, name)
    recorder.create_topics()
    served = Served(kafka, market, f"{name}-served", name)
    send(kafka, recorder.ticks_topic, market.items, partition=0)
    served.take(10**9)  # predicted, and no progress recorded but with the predictions
    apply, groups = DeploymentPartition._apply, 0

    def die_at_the_third(partition: DeploymentPartition, arrivals: Any) -> None:
        nonlocal groups
        apply(partition, arrivals)
        groups += 1
        if groups == 3:
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr("lit.serving.partition.CHECKPOINT_SECONDS", 0.0)
        patch.setattr("lit.serving.partition.GROUP_MESSAGES", 5)
        patch.setattr(DeploymentPartition, "_apply", die_at_the_third)
        served.begin()
    served.begin()
    check_served(kafka, market, served.config, served.since)


def test_a_symbol_that_was_not_served_before_begins_whole_though_its_bars_are_ahead(kafka: str, market: Market) -> None:
    name, items = f"served{random.randrange(10**6)}", market.items
    recorder = bars_config(kafka, name)
    recorder.create_topics()
    half = len(items) // 2
    send(kafka, recorder.ticks_topic, items[:half], partition=0)
    served = Served(kafka, market, f"{name}-served", name, tickers=("FAST",))
    send(kafka, recorder.ticks_topic, items[half:], partition=0)
    take_all(BarPartition(recorder, 0))
    served.begin("FAST", "SLOW")
    check_served(kafka, market, served.config, served.since)


def test_scores_that_were_due_when_a_deployment_was_killed_come_from_its_successor(kafka: str, market: Market) -> None:
    name, items = f"due{random.randrange(10**6)}", market.items
    bars_config(kafka, name).create_topics()
    served = Served(kafka, market, f"{name}-served", name)
    send(kafka, served.config.ticks_topic, items, partition=0)
    served.take(len(items) - 40)

    def killed(*_: Any) -> None:
        raise InterruptedError

    served.partition._score = killed  # type: ignore[assignment]
    with pytest.raises(InterruptedError):
        served.take(len(items))
    served.begin()
    check_served(kafka, market, served.config)


def test_what_is_being_written_is_waited_for_where_a_transaction_may_be_seen_elsewhere_first(kafka: str) -> None:
    name = f"settled{random.randrange(10**6)}"
    config_ = bars_config(kafka, name)
    config_.create_topics()
    topic = config_.bars_topic(MINUTE)
    transaction = TransactionalPartition(kafka, name, config_.ticks_topic, 0, config_.state_topic)
    transaction.begin()
    transaction.send(topic, b"A", b"bar")
    transaction._producer.flush(15)
    threading.Timer(1.0, transaction.commit).start()
    assert not list(read_messages(kafka, topic, 0))
    assert [message.value() for message in read_messages(kafka, topic, 0, settled=True)] == [b"bar"]

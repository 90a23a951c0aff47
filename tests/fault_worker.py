"""A bars worker or a deployment that signals itself at a stage of its work, for tests of faults.

`python -m tests.fault_worker bars|deployment BOOTSTRAP DATA NAME [--at STAGE:NUMBER:SIGNAL]`; a stopped process goes on
where it was when it gets SIGCONT.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lit.features.intervals import Interval
from lit.features.library import load_features
from lit.processors import bar_partition
from lit.processors.app import run
from lit.processors.bar_partition import BarPartition, Group
from lit.processors.bars import bars_app
from lit.processors.bars_config import BarsConfig
from lit.processors.delivery import TransactionalPartition
from lit.serving.deployment import deployment_app
from lit.serving.predictions import Model
from lit.streams.workspace import Workspace
from tests.deployment_worker import Share, config

#: Stages within a transaction: it is open; a message is on its way; all messages are in the topics, uncommitted.
INSIDE = ("begun", "sent", "flushed")
#: Closed bars are committed, and other symbols' states are not.
BARS_ONLY = "bars-only"


def bars_config(bootstrap: str, source: str) -> BarsConfig:
    """The bars worker that tests look at."""
    return BarsConfig(bootstrap, "demo", source, (Interval.parse("1minute"),))


def arm(stage: str, number: int, chosen: signal.Signals) -> None:
    """Send this process a signal when it comes to a stage for the `number`th time."""
    left = number
    bar_partition.CLOSED_SECONDS = 0.0  # a short tape has many transactions then, on any machine

    def reached() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), chosen)

    def after(cls: Any, method: str) -> None:
        original: Callable[..., Any] = getattr(cls, method)

        def wrapped(*args: Any, **named: Any) -> Any:
            result = original(*args, **named)
            reached()
            return result

        setattr(cls, method, wrapped)

    if stage == "begun":
        after(TransactionalPartition, "begin")
    elif stage == "sent":
        after(TransactionalPartition, "send")
    elif stage == "flushed":
        commit = TransactionalPartition.commit

        def flushed(self: Any) -> None:
            if left > 0:
                self._producer.flush(15)
            reached()
            commit(self)

        TransactionalPartition.commit = flushed  # type: ignore[method-assign]
    elif stage == BARS_ONLY:
        # else a busy machine makes pauses, in which all states are written
        bar_partition.QUIET_SECONDS = bar_partition.GROUP_SECONDS
        close_group, write = BarPartition.close_group, BarPartition.write
        lacking: list[Group] = []

        def closing(self: Any) -> Group:
            others = not self.states_due and bool(self._touched.keys() - self._closed.keys())
            group = close_group(self)
            lacking.extend([group] if others else [])
            return group

        def writing(self: Any, group: Group) -> None:
            write(self, group)
            if any(one is group for one in lacking):
                reached()

        BarPartition.close_group, BarPartition.write = closing, writing  # type: ignore[method-assign]
    else:
        raise SystemExit(f"no stage {stage!r}")


def main() -> None:
    """Run the worker."""
    parser = argparse.ArgumentParser()
    for name in ("role", "bootstrap", "data", "name"):
        parser.add_argument(name)
    parser.add_argument("--at")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if args.at:
        stage, number, name = args.at.split(":")
        arm(stage, int(number), signal.Signals[name])
    if args.role == "bars":
        recorder = bars_config(args.bootstrap, args.name)
        recorder.create_topics()
        run(bars_app(recorder))
    else:
        inputs, label = load_features(Workspace(Path(args.data), "demo"), ["bars", "up"])
        wanted = config(args.bootstrap, args.name)
        wanted.create_topics()
        run(deployment_app(wanted, [Model("share", [inputs], label, Share())]))


if __name__ == "__main__":
    main()

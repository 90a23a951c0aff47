"""A deployment as a process of its own, for tests: `python -m tests.deployment_worker BOOTSTRAP DATA NAME`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit.features.intervals import Interval
from lit.features.library import load_features
from lit.processors.app import run
from lit.serving.config import DeploymentConfig
from lit.serving.deployment import await_end, deployment_app
from lit.serving.predictions import Model
from lit.streams.workspace import Workspace


class Share:
    """A model that needs no training: the share of closes above the mean close."""

    def predict_many(self, inputs: Mapping[str, Any]) -> Any:
        closes = inputs["bars"][:, :, 3]
        return (closes > closes.mean(axis=1, keepdims=True)).mean(axis=1, keepdims=True)


def config(bootstrap: str, name: str) -> DeploymentConfig:
    """The deployment that tests look at."""
    return DeploymentConfig(bootstrap, "demo", name, name, Interval.parse("1minute"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "data", "name"):
        parser.add_argument(name)
    for name in ("--model", "--after", "--ready"):
        parser.add_argument(name)
    args = parser.parse_args()
    bars, label = load_features(Workspace(Path(args.data), "demo"), ["bars", "up"])
    wanted = config(args.bootstrap, args.name)
    wanted.create_topics()
    if args.ready:
        Path(args.ready).touch()
    if args.after:
        await_end(int(args.after))
    run(deployment_app(wanted, [Model(args.model or "share", [bars], label, Share())]))

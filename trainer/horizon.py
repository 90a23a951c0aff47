"""How far an asset's labels look ahead: its frozen features are run on a made-up tape, in a process of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit.features.feature import Feature
from lit.features.intervals import FIXED_UNITS, Interval
from lit.features.probe import Reads, probe
from lit.features.sandbox import call
from lit.features.scripts import load_script
from lit.streams.errors import UserError

_DAY = 86_400.0


def horizons_of(schema: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the labels of a frozen schema and how far each looks ahead, in seconds.

    A label asks for bars of the future. `count` of them end at most `count + 1` intervals later, as long as each
    interval has a trade: in a quiet market the true horizon is longer. None: its bars are not made by time.

    Raises
    ------
    UserError
        If a script does not run any more.
    """
    features = schema.get("features")
    if not isinstance(features, Mapping):  # made by hand: a list of names says nothing
        return {}
    plain = {
        name: {"script": one["script"], "source": one["source"], "params": one["params"]}
        for name, one in features.items()
    }
    if not plain:
        return {}
    return dict(call("lit.trainer.horizon:probed", {"features": plain}).value)


def probed(features: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Run features that were frozen and return the labels among them; the sandbox's side of `horizons_of`."""
    thawed = []
    for name, one in features.items():
        try:
            script = load_script(Path(f"{one['script']}.py"), one["source"])
            thawed.append(Feature(name, script, one["params"]))
        except KeyError as error:
            raise UserError(f"feature {name!r} is not frozen whole: {error} is missing") from None
    return {name: _seconds(reads) for name, reads in probe(thawed).items() if reads.future}


def _seconds(reads: Reads) -> float | None:
    if not all(interval.by_time for interval in reads.ahead):
        return None
    return max((_span(interval) * (count + 1) for interval, count in reads.ahead.items()), default=None)


def _span(interval: Interval) -> float:
    return interval.size * (FIXED_UNITS[interval.unit] / 1e9 if interval.unit in FIXED_UNITS else _DAY)

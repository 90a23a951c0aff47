"""The whole state of a training at a step, so that a run that goes on from it gives what it would have given."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.errors import FaultError

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Checkpoint:
    """Where a training stands.

    Attributes
    ----------
    epoch, step : int
        Epochs finished, and steps done in the one after them: with the seed they fix the shuffling position.
    variables : list of ndarray
        The model's variables, states of random generators (dropout) included, then the optimizer's.
    seen : dict of str to ndarray
        What the unfinished epoch has collected for its metrics: `labels`, `predictions`, `losses`.
    digest : str
        Of the asset trained on.
    seconds : float
        Time that the unfinished epoch has taken so far.
    """

    epoch: int = 0
    step: int = 0
    variables: list[Array] = field(default_factory=list)
    seen: dict[str, Array] = field(default_factory=dict)
    digest: str = ""
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write the checkpoint; a crash leaves the old one or the new one."""
        arrays = {f"variable_{number}": value for number, value in enumerate(self.variables)}
        arrays |= {f"seen_{name}": value for name, value in self.seen.items()}
        meta = {"epoch": self.epoch, "step": self.step, "digest": self.digest, "seconds": self.seconds}
        draft = path.with_suffix(".draft")
        with draft.open("wb") as stream:
            np.savez(stream, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), allow_pickle=False, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Read a checkpoint; None if there is none yet."""
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as found:
                meta = json.loads(found["meta"].tobytes())
                count = sum(name.startswith("variable_") for name in found.files)
                return cls(
                    variables=[found[f"variable_{number}"] for number in range(count)],
                    seen={name[5:]: found[name] for name in found.files if name.startswith("seen_")},
                    **meta,
                )
        except (OSError, ValueError, KeyError) as error:
            raise FaultError(f"checkpoint {path} is damaged ({error}): start a new run") from error


def variables_of(model: Any, optimizer: Any) -> list[Any]:
    """Return all variables that a step changes, in a fixed order."""
    return [*model.variables, *optimizer.variables]


def capture(model: Any, optimizer: Any) -> list[Array]:
    """Copy the values of all variables."""
    return [np.array(variable.numpy()) for variable in variables_of(model, optimizer)]


def restore(model: Any, optimizer: Any, values: list[Array]) -> None:
    """Put captured values back.

    Raises
    ------
    FaultError
        If they belong to another model.
    """
    variables = variables_of(model, optimizer)
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise FaultError("the checkpoint belongs to another model: the canvas or a component changed since")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()

"""Why a model predicted what it did at one sample, and what it would have said: impact, influential cells, what-if.

Pure: a model is a function from named arrays to outputs. A sample is feature name → float32 (columns,) or (rows,
columns); a batch has one axis more in front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.serving.insight_game import Effect, Masks, Played, play
from lit.streams.errors import UserError
from lit.streams.tick import Float64Array

Array = npt.NDArray[np.float32]
Sample = Mapping[str, Array]
#: A batch of n samples → (n, outputs).
Outputs = Callable[[Sample], npt.NDArray[Any]]

#: Who plays: (feature, column), or (feature, None) for all of its columns together.
Players = list[tuple[str, int | None]]

#: Samples of a training asset that stand for "what else the inputs could have been".
BACKGROUND = 64
#: What one batch of made-up samples may hold.
_BATCH_BYTES = 16 * 1024 * 1024
#: Cells that are ranked: the first of them fill a screen.
SHOWN_CELLS = 50


@dataclass(frozen=True, slots=True)
class Part:
    """What has an effect: a feature's column over all its rows, or (`column` None) the whole feature."""

    feature: str
    column: int | None
    effect: Effect


@dataclass(frozen=True, slots=True)
class Impact:
    """What columns and features contributed to an output, with the games that say so."""

    output: int
    columns: tuple[Part, ...]
    features: tuple[Part, ...]
    by_column: Played
    by_feature: Played


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the inputs; `row` None where the feature has no rows."""

    feature: str
    row: int | None
    column: int


@dataclass(frozen=True, slots=True)
class Influence:
    """How much an output falls when a cell has its usual value instead (`effect` = output with it less without)."""

    cell: Cell
    value: float
    usual: float
    effect: float


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed cell; `alone` is what this change alone does to the output."""

    cell: Cell
    before: float
    after: float
    alone: float


def chosen_output(prediction: npt.NDArray[Any], output: int | None) -> int:
    """Return which output is looked at: the one asked for, else the largest (of one output: that).

    Raises
    ------
    UserError
        If the model has no such output.
    """
    if output is None:
        return int(np.argmax(prediction))
    if not 0 <= output < len(prediction):
        raise UserError(f"output {output} does not exist: the model has outputs 0…{len(prediction) - 1}")
    return output


def impact(outputs: Outputs, sample: Sample, background: Sample, output: int | None = None, seed: int = 0) -> Impact:
    """Return saliency and independence of each column and of each feature (see `lit.serving.insight_game`).

    Parameters
    ----------
    outputs
        The model.
    sample
        What it saw.
    background
        Samples of its training asset, a batch.
    output
        Which output; None: the largest.
    seed
        Decides orders where they are drawn.
    """
    number = chosen_output(_row(outputs, sample), output)
    columns: Players = [(name, column) for name, value in sample.items() for column in range(value.shape[-1])]
    features: Players = [(name, None) for name in sample]
    by_column, by_feature = (
        play(coalition_values(outputs, sample, background, players, number), len(players), seed)
        for players in (columns, features)
    )
    return Impact(number, _parts(columns, by_column), _parts(features, by_feature), by_column, by_feature)


def _parts(players: Players, game: Played) -> tuple[Part, ...]:
    return tuple(Part(name, column, effect) for (name, column), effect in zip(players, game.effects, strict=True))


def coalition_values(
    outputs: Outputs,
    sample: Sample,
    background: Sample,
    players: Players,
    output: int,
) -> Callable[[Masks], Float64Array]:
    """Return v: the mean output over the background with the coalition's columns taken from the sample."""
    count = len(next(iter(background.values())))
    a_mask = max(1, count * sum(value.nbytes for value in sample.values()))

    def values(masks: Masks) -> Float64Array:
        found = []
        for part in _pieces(len(masks), a_mask):
            batch = {name: _mixed(name, sample[name], background[name], players, masks[part]) for name in sample}
            said = _finite(outputs(batch))[:, output]
            found.append(said.reshape(-1, count).mean(axis=1))
        return np.concatenate(found)

    return values


def _mixed(name: str, value: Array, background: Array, players: Players, masks: Masks) -> Array:
    """Return the samples of all masks and background rows for one feature: (masks · rows, *shape)."""
    kept = np.zeros((len(masks), value.shape[-1]), bool)
    for player, (feature, column) in enumerate(players):
        if feature == name and column is None:
            kept |= masks[:, player, None]
        elif feature == name:
            kept[:, column] = masks[:, player]
    kept = kept.reshape(len(masks), 1, *(1,) * (value.ndim - 1), value.shape[-1])
    return np.where(kept, value, background[None]).reshape(-1, *value.shape).astype(np.float32, copy=False)


def influences(
    outputs: Outputs, sample: Sample, background: Sample, output: int | None = None
) -> tuple[list[Influence], int]:
    """Rank cells by how much the output changes when one of them has its usual value instead.

    Usual is the mean of the cell's column over the sample's own rows; of a feature without rows, the background's mean.
    One at a time, so that a model that saturates or has kinks is told as it is; a gradient would not.

    Returns
    -------
    list of Influence, int
        The `SHOWN_CELLS` most influential first, and the output that they are about.
    """
    whole = _row(outputs, sample)
    number = chosen_output(whole, output)
    usual = {name: _usual(value, background[name]) for name, value in sample.items()}
    places = [(name, position) for name, value in sample.items() for position in range(value.size)]
    effects = np.empty(len(places))
    for part in _pieces(len(places), sum(value.nbytes for value in sample.values())):
        batch = {name: np.repeat(value[None], part.stop - part.start, axis=0) for name, value in sample.items()}
        for row, (name, position) in enumerate(places[part]):
            batch[name][row].reshape(-1)[position] = usual[name].reshape(-1)[position]
        effects[part] = whole[number] - _finite(outputs(batch))[:, number]
    order = np.argsort(-np.abs(effects), kind="stable")[:SHOWN_CELLS]
    found = []
    for place in order.tolist():
        name, position = places[place]
        value = float(sample[name].reshape(-1)[position])
        there = float(usual[name].reshape(-1)[position])
        found.append(Influence(_cell(name, sample[name].shape, position), value, there, float(effects[place])))
    return found, number


def _usual(value: Array, background: Array) -> Array:
    rows = value if len(value.shape) == 2 and len(value) > 1 else background
    mean = np.asarray(rows.mean(axis=0, dtype=np.float64), np.float32)
    return np.broadcast_to(mean, value.shape)


def edited(sample: Sample, edits: Sequence[tuple[Cell, float]]) -> dict[str, Array]:
    """Return the sample with cells changed; negative rows and columns count from the end.

    Raises
    ------
    UserError
        If there is no such cell, or a value is no finite number.
    """
    changed = {name: value.copy() for name, value in sample.items()}
    for cell, value in edits:
        place = _place(sample, cell)
        changed[cell.feature][place] = _number(cell, value)
    return changed


def apart(
    outputs: Outputs, sample: Sample, edits: Sequence[tuple[Cell, float]], before: npt.NDArray[Any], output: int
) -> list[Edit]:
    """Return what each edit alone does to the output, the most influential first.

    Parameters
    ----------
    before
        The model's outputs for the sample, (outputs,).
    """
    if not edits:
        return []
    batch = {name: np.repeat(value[None], len(edits), axis=0) for name, value in sample.items()}
    for row, (cell, value) in enumerate(edits):
        place = _place(sample, cell)
        batch[cell.feature][row][place] = _number(cell, value)
    said = _finite(outputs(batch))[:, output] - float(before[output])
    made = []
    for (cell, value), alone in zip(edits, said.tolist(), strict=True):
        made.append(Edit(cell, float(sample[cell.feature][_place(sample, cell)]), float(value), alone))
    return sorted(made, key=lambda edit: -abs(edit.alone))


def _row(outputs: Outputs, sample: Sample) -> npt.NDArray[Any]:
    return _finite(outputs({name: value[None] for name, value in sample.items()}))[0]


def _finite(said: Any) -> Float64Array:
    values = np.asarray(said, np.float64)
    if not np.isfinite(values).all():
        raise UserError("the model says NaN or infinity of some of these inputs: what matters to it can't be told")
    return values


def _pieces(count: int, bytes_each: int) -> Iterator[slice]:
    step = max(1, _BATCH_BYTES // max(bytes_each, 1))
    for first in range(0, count, step):
        yield slice(first, min(first + step, count))


def _cell(feature: str, shape: tuple[int, ...], position: int) -> Cell:
    places = [int(place) for place in np.unravel_index(position, shape)]
    return Cell(feature, places[0] if len(shape) == 2 else None, places[-1])


def _place(sample: Sample, cell: Cell) -> tuple[int, ...]:
    if cell.feature not in sample:
        raise UserError(f"feature {cell.feature!r} is no input of the model: it has {', '.join(sample)}")
    shape = sample[cell.feature].shape
    if (cell.row is None) != (len(shape) == 1):
        rows = f"has {shape[0]} rows: name one" if len(shape) == 2 else "has no rows: leave the row out"
        raise UserError(f"feature {cell.feature!r} {rows}")
    place = (cell.column,) if cell.row is None else (cell.row, cell.column)
    if any(not -size <= at < size for at, size in zip(place, shape, strict=True)):
        raise UserError(f"feature {cell.feature!r} has no cell {list(place)}: its shape is {list(shape)}")
    return place


def _number(cell: Cell, value: float) -> np.float32:
    with np.errstate(over="ignore"):
        number = np.float32(value)
    if not np.isfinite(number):
        raise UserError(f"the new value of {cell.feature!r} is {value!r}: give a finite number of 32 bits")
    return number

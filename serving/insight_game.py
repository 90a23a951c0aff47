"""Saliency and independence of the columns that a prediction was made of, as a game of coalitions; pure numerics.

Players are columns (or whole features); a coalition's value v(S) is the model's mean output where the players in S have
the values of the sample and all others those of a background (`lit.serving.insight`). Then, for each player i:

saliency
    Its Shapley value: the mean of what i adds, v(S + i) - v(S), over all orders of joining. Saliencies add up to the
    prediction less the background's mean prediction. Štrumbelj, E., Kononenko, I. (2014), *Explaining prediction models
    and individual predictions with feature contributions*; Lundberg, S., Lee, S.-I. (2017), *A Unified Approach to
    Interpreting Model Predictions* (whose `shap` library computes it).
alone
    What i adds to nobody, v({i}) - v({}): the first-order effect of the functional ANOVA; its variance over samples
    is the numerator of the first-order Sobol index. Sobol', I. (2001), *Global sensitivity indices for nonlinear
    mathematical models*; Owen, A. (2014), *Sobol' Indices and Shapley Value*.
independence
    |alone| / (|alone| + joint), joint being the mean over all orders of how far what i adds is from what it adds alone,
    |v(S + i) - v(S) - alone|. 1: i has the same effect whatever the others are (an additive model); 0: i has no effect
    without the others (a pure interaction, such as exclusive or). None where i has no effect at all.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.tick import Float64Array

Masks = npt.NDArray[np.bool_]
#: Returns v of coalitions: bool (k, players) → float64 (k,).
Values = Callable[[Masks], Float64Array]

#: Up to here all 2^n coalitions are valued (1,024); beyond, orders of joining are drawn.
EXACT_PLAYERS = 10
#: Coalitions that drawn orders may value, and how many orders (each forth and back) there are at the least.
_DRAWN, _LEAST_ORDERS = 2048, 4
#: Effects below this share of the largest are rounding errors of float32 models, not effects.
_NOTHING = 1e-5


@dataclass(frozen=True, slots=True)
class Effect:
    """One player's part in a prediction; in units of the model's output, `independence` in [0, 1] or None."""

    saliency: float
    alone: float
    independence: float | None


@dataclass(frozen=True, slots=True)
class Played:
    """A game that was played.

    Parameters
    ----------
    effects
        Of each player, in order.
    nobody, everybody
        v of no player and of all: the background's mean prediction, and the sample's prediction.
    method
        `exact`, or `permutation` where orders of joining were drawn.
    coalitions
        How many were valued.
    """

    effects: tuple[Effect, ...]
    nobody: float
    everybody: float
    method: str
    coalitions: int


class _Table:
    """Values coalitions, each once, and remembers them; a coalition is an integer, bit i for player i."""

    def __init__(self, values: Values, players: int) -> None:
        self._values = values
        self._bits = [1 << player for player in range(players)]
        self.known: dict[int, float] = {}

    def __call__(self, masks: npt.NDArray[np.generic]) -> Float64Array:
        rows = np.asarray(masks) != 0
        keys = [sum(bit for bit, inside in zip(self._bits, row, strict=True) if inside) for row in rows.tolist()]
        fresh = {key: row for key, row in zip(keys, rows, strict=True) if key not in self.known}
        if fresh:
            valued = self._values(np.stack(list(fresh.values())))
            self.known.update(zip(fresh, valued.tolist(), strict=True))
        return np.array([self.known[key] for key in keys])


def play(values: Values, players: int, seed: int = 0) -> Played:
    """Value coalitions and return each player's effect.

    Parameters
    ----------
    values
        v.
    players
        How many there are.
    seed
        Decides which orders are drawn, where not all coalitions are valued.
    """
    table = _Table(values, players)
    nobody, everybody = table(np.stack([np.zeros(players, bool), np.ones(players, bool)])).tolist()
    alone = table(np.eye(players, dtype=bool)) - nobody
    exact = players <= EXACT_PLAYERS
    if players == 1:
        saliency = np.array([everybody - nobody])
    else:
        saliency = _shapley(table, players, exact, seed)
    joint = np.array([_joint(table.known, player, own) for player, own in enumerate(alone.tolist())])
    total = np.abs(alone) + joint
    floor = _NOTHING * max(float(total.max(initial=0.0)), abs(everybody - nobody), 1e-30)
    effects = tuple(
        Effect(float(s), float(a), float(abs(a) / t) if t > floor else None)
        for s, a, t in zip(saliency, alone, total, strict=True)
    )
    return Played(effects, nobody, everybody, "exact" if exact else "permutation", len(table.known))


def _shapley(table: _Table, players: int, exact: bool, seed: int) -> Float64Array:
    """Return Shapley values by `shap`: it explains v itself, a function of who takes part, at "all do".

    Kernel SHAP over all coalitions is exact (Lundberg, Lee 2017, theorem 2), and needs nothing compiled, unlike shap's
    explainer of that name; drawn orders need some seconds of compiling in each process.
    """
    shap = _shap()
    nobody, everybody = np.zeros((1, players)), np.ones((1, players))
    if exact:
        explainer = shap.KernelExplainer(table, nobody)
        values = explainer.shap_values(everybody, nsamples=2**players, l1_reg=False, silent=True)
    else:
        walk = 2 * players + 1
        masker = shap.maskers.Independent(nobody, max_samples=1)
        explainer = shap.explainers.Permutation(table, masker, seed=seed)
        values = explainer(everybody, max_evals=walk * max(_DRAWN // walk, _LEAST_ORDERS), silent=True).values
    return np.asarray(values, np.float64).reshape(players)


def _shap() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

    logging.getLogger("shap").setLevel(logging.WARNING)
    return shap


def warm_up(players: int) -> None:
    """Import and compile what a first game of so many players would wait for."""
    play(lambda masks: masks.sum(axis=1).astype(np.float64), players)


def _joint(known: dict[int, float], player: int, alone: float) -> float:
    """Return the mean of |v(S + i) - v(S) - alone| over coalitions: a mean in each size of S, then over sizes.

    With all coalitions known that weighs them as Shapley values do; of drawn orders it takes each step that was seen.
    """
    bit = 1 << player
    sums: dict[int, list[float]] = {}
    for coalition, value in known.items():
        if not coalition & bit and (joined := known.get(coalition | bit)) is not None:
            sums.setdefault(coalition.bit_count(), []).append(abs(joined - value - alone))
    return float(np.mean([np.mean(found) for found in sums.values()]))

"""Bars that grow in place are those that joining them gives; what was handed out before does not change."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lit.features.bar_store import BarStore
from lit.features.bars import NO_BARS, Bars


def some(first: int, count: int) -> Bars:
    numbers = np.arange(first, first + count)
    return Bars(np.repeat(numbers, 8).reshape(count, 8).astype(float), *(numbers + shift for shift in range(5)))


def same(one: Bars, other: Bars) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Bars))


@given(st.integers(0, 40), st.lists(st.tuples(st.integers(0, 70), st.floats(0, 1)), max_size=12))
def test_appended_and_dropped_bars_are_as_joined_ones(begun: int, steps: list[tuple[int, float]]) -> None:
    given_bars = some(0, begun)
    store, parts, at, seen = BarStore(given_bars), given_bars, begun, []
    for count, share in steps:
        store.append(some(at, count))
        parts, at = Bars.concat([parts, some(at, count)]), at + count
        if share > 0.7:
            cut = int(share * len(parts)) // 2
            store.drop(cut)
            parts = parts.take(slice(cut, None))
        assert same(store.bars, parts)
        seen.append((store.bars, parts))
    assert all(same(bars, then) for bars, then in seen)
    assert same(given_bars, some(0, begun)) and len(NO_BARS) == 0

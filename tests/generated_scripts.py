"""Feature scripts made up at random, of which it is known whether they look ahead."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Generated:
    """A script, what the judge must say of it, and which recipe it is from."""

    source: str
    kind: str
    recipe: str


#: What a script may know: lines that set `x`, of what happened up to the sample.
CLEAN = {
    "close": "x = bars(index, {n})[-1, 3]",
    "mean of lows": "x = bars(index, {n})[:, 2].mean()",
    "volume of the oldest bar": "x = bars(index, {n})[0, 5]",
    "this trade": "x = adapter[index]['Price'] * {n}",
    "an older trade": "x = adapter[max(index - {n}, 0)]['Volume']",
    "change since an older trade": "x = adapter[index]['Price'] / adapter[max(index - {n}, 0)]['Price'] - 1",
    "time since an older trade": "x = adapter[index]['timestamp'] - adapter[max(index - {n}, 0)]['timestamp']",
    "bars before an older trade": "x = bars(max(index - {n}, 0), 2)[-1, 1]",
    "what followed an old trade, closed long ago": (
        "b = adapter.get_bars(max(index - 1000 - {n}, 0), 1, 'tick', 3, future=True)\n"
        "if index < 1200: return []\n"
        "x = b[0, 3]"
    ),
    "trades up to this one, as whole bars": (
        "x = adapter.get_bars(index, {n}, 'tick', 1, prevent_lookahead_bias=False)[:, 5].sum()"
    ),
    "the length, without effect": "x = adapter[min(index, len(adapter) - 1)]['Price']",
    "the next trade's symbol": "x = float(index + 1 < len(adapter) and adapter[index + 1]['symbol'] == '?')",
    "the session": "x = adapter[index]['session'] + adapter[max(index - {n}, 0)]['session']",
    "the hour, by a column": "x = adapter.column('timestamp', [index])[0] // 10**9 % 86400 // 3600",
    "seeded noise": "x = bars(index, 2)[-1, 3] + np.random.default_rng(index).normal()",
    "a cache of the past": ("if index not in cache: cache[index] = bars(index, {n})[:, 3].max()\nx = cache[index]"),
    "rejects by the past": "if adapter[index]['Volume'] % 2: return []\nx = bars(index, 1)[0, 0]",
    "a guard that never opens": "if index > 10**9: return [adapter[index + 1]['Price']]\nx = bars(index, {n})[-1, 7]",
}

#: What no script may know; each is seen in `x` or in a rejection.
LEAKY = {
    "this bar, whole": "x = bars(index, {n}, prevent_lookahead_bias=False)[-1, 3]",
    "only the range of this bar": "b = bars(index, 1, prevent_lookahead_bias=False)\nx = b[0, 1] - b[0, 2]",
    "the next trade": "x = adapter[min(index + 1, len(adapter) - 1)]['Price']",
    "a trade to come": "x = adapter[min(index + {n}, len(adapter) - 1)]['Price'] - adapter[index]['Price']",
    "time until the next trade": (
        "if index + 1 >= len(adapter): return []\nx = adapter[index + 1]['timestamp'] - adapter[index]['timestamp']"
    ),
    "a session to come": "x = adapter[min(index + {n}, len(adapter) - 1)]['session']",
    "a column of trades to come": (
        "x = adapter.column('Price', np.arange(index, min(index + {n} + 1, len(adapter)))).mean()"
    ),
    "the number of trades": "x = index / len(adapter)",
    "bars before the next trade": "x = bars(min(index + {n}, len(adapter) - 1), 3)[-1, 3]",
    "the highest price of all": (
        "if 'top' not in cache: cache['top'] = max(adapter.column('Price', np.arange(len(adapter))))\n"
        "x = adapter[index]['Price'] / cache['top']"
    ),
    "a mean over everything, rounded": (
        "if 'm' not in cache: cache['m'] = adapter.column('Volume', np.arange(len(adapter))).mean()\n"
        "x = round(cache['m'] / 100)"
    ),
    "only the sign of the next move": (
        "x = np.sign(adapter[min(index + {n}, len(adapter) - 1)]['Price'] - adapter[index]['Price'])"
    ),
    "one sample in many": "x = adapter[index + 1]['Price'] if index % 97 == {n} and index + 1 < len(adapter) else 5.0",
    "only after hours": (
        "later = min(index + 1, len(adapter) - 1)\n"
        "x = adapter[later if adapter[index]['session'] == 2 else index]['Price']"
    ),
    "keeps samples before a rise": (
        "if adapter[min(index + {n}, len(adapter) - 1)]['Price'] <= adapter[index]['Price']: return []\n"
        "x = bars(index, 2)[-1, 3]"
    ),
    "samples before a rise, of one value": (
        "if adapter[min(index + {n}, len(adapter) - 1)]['Price'] <= adapter[index]['Price']: return []\nreturn [1.0]"
    ),
    "hidden from errors": ("try: x = adapter[index + {n}]['Price']\nexcept IndexError: x = adapter[index]['Price']"),
    "a large order to come": "x = float(adapter[min(index + {n}, len(adapter) - 1)]['Volume'] > 10**7)",
}

LABELS = {
    "the next close": "x = bars(index, {n}, future=True)[-1, 3]",
    "whether it rises": "x = float(bars(index, 1, future=True)[0, 3] > adapter[index]['Price'])",
    "this bar on": "x = bars(index, {n}, future=True, prevent_lookahead_bias=False)[0, 1]",
    "bars after an older trade": "x = bars(max(index - {n}, 0), {n}, future=True)[:, 5].max()",
}

SAMPLERS = {
    "last trade of a second": (
        "if index + 1 >= len(adapter): return []\n"
        "times = [adapter[j]['timestamp'] // (10**9 * {n}) for j in (index, index + 1)]\n"
        "return [1.0] if times[0] != times[1] else []"
    ),
}

UNSTABLE = {
    "random numbers": "x = np.random.random()",
    "the clock": "import time\nx = time.perf_counter()",
    "a sum over calls": "cache['sum'] = cache.get('sum', 0) + adapter[index]['Price']\nx = cache['sum']",
    "the sample before": "x = cache.get('last', 0.0)\ncache['last'] = adapter[index]['Price']",
}

KINDS = {"clean": CLEAN, "leak": LEAKY, "label": LABELS, "sampler": SAMPLERS, "unstable": UNSTABLE}

_SOURCE = """
import numpy as np

cache = {{}}


class NotEnough(Exception):
    pass


def feature(adapter, index, params={{}}, other_features={{}}):
    def bars(at, count, **options):
        rows = adapter.get_bars(at, count, {unit!r}, {size}, **options)
        if len(rows) < count:
            raise NotEnough
        return rows

    try:
        return compute(adapter, index, bars)
    except NotEnough:
        return []


def compute(adapter, index, bars):
{body}
    return {result}
"""

_RESULTS = ["[x]", "[x, 1.0]", "[[x, 2 * x], [0.0, 0.0]]", "np.array([x])", "[x, bars(index, 3)[-1, 3]]"]


def generate(count: int, seed: int) -> list[Generated]:
    """Return scripts, about half of them clean; every recipe occurs before one occurs twice."""
    rng = random.Random(seed)
    clean = [("clean", name) for name in CLEAN]
    others = [(kind, name) for kind, recipes in KINDS.items() if kind != "clean" for name in recipes]
    for recipes in (clean, others):
        rng.shuffle(recipes)
    chosen = [clean[n // 2 % len(clean)] if n % 2 else others[n // 2 % len(others)] for n in range(count)]
    made: dict[str, Generated] = {}
    for kind, name in chosen:
        while (script := _generated(rng, kind, name)).source in made:
            pass
        made[script.source] = script
    return list(made.values())


def _generated(rng: random.Random, kind: str, name: str) -> Generated:
    lines = KINDS[kind][name].replace("{n}", str(rng.randint(2, 7))).split("\n")
    if rng.random() < 0.5:  # harmless company
        lines.insert(0, f"past = adapter.get_bars(index, {rng.randint(1, 9)}, 'minute', {rng.randint(1, 3)})")
    body = "\n".join(f"    {line}" for line in lines)
    unit, size = rng.choice([("second", 10), ("minute", 1), ("minute", 5), ("tick", 20), ("sec", 90), ("volume", 9000)])
    result = "x" if "return [1.0]" in body else rng.choice(_RESULTS)
    return Generated(_SOURCE.format(unit=unit, size=size, body=body, result=result), kind, name)

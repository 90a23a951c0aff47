"""When somebody should look at a deployment: rules, what they are about, and no word twice while a condition stays.

Pure: facts and the time come from outside. A condition begins when its value passes the threshold, and ends when it is
back by a tenth of it, so that a value on the edge does not ring all day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from lit.serving.score_report import RECENT, Measures
from lit.streams.errors import UserError
from lit.streams.sessions import session_codes

MARGIN = 0.1


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`alerts` of a deployment's file; a rule that is not there is not watched.

    Parameters
    ----------
    drift
        Population stability index of any input column above this (0.25 is usual).
    silence
        Seconds without a prediction.
    lag
        Messages of ticks that wait.
    latency_ms
        99th percentile from a bar's close to its prediction.
    accuracy, brier, rmse
        Of the last scores (500 at the most): accuracy below; Brier, or the error of predicted numbers, above.
    scores
        How many scores there must be before these say something.
    calendar
        Exchange (ISO 10383 code, `XNYS`): silence counts in its sessions only.
    webhook, secret
        Where alerts are posted to, and what they are signed with.
    """

    drift: float | None = None
    silence: float | None = None
    lag: float | None = None
    latency_ms: float | None = None
    accuracy: float | None = None
    brier: float | None = None
    rmse: float | None = None
    scores: int = 50
    calendar: str | None = None
    webhook: str | None = None
    secret: str | None = None

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Rules:
        """Return checked rules.

        Raises
        ------
        UserError
            If a rule is unknown or its value unusable.
        """
        try:
            rules = msgspec.convert(raw, cls)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(cls))
            name = str(error).rpartition("$.")[2].strip("`")
            if name in _NAMES:
                raise UserError(f"alert {name} is {raw[name]!r}: give a number") from None
            raise UserError(f"alerts do not fit: {error} (there are: {known})") from None
        for name in _NAMES:
            value = getattr(rules, name)
            if value is not None and not value > 0:
                raise UserError(f"alert {name} is {value}: give a number above 0")
        if rules.accuracy is not None and rules.accuracy > 1:
            raise UserError(f"alert accuracy is {rules.accuracy:g}: it is a share, give a number up to 1")
        if not 1 <= rules.scores <= RECENT:
            raise UserError(f"alert scores is {rules.scores}: give a number from 1 to {RECENT}")
        if rules.webhook is not None and not _is_address(rules.webhook):
            raise UserError(f"webhook {rules.webhook!r} is no address: write it as https://example.org/hook")
        if rules.calendar is not None:
            session_codes(rules.calendar, np.zeros(1, np.int64))  # refuses one that does not exist
        return rules


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is no number
        return False


class Alert(msgspec.Struct, frozen=True):
    """A condition that began (`raised`) or ended (`cleared`); `subject` is a model, `predictions` or `ticks`."""

    deployment: str
    rule: str
    subject: str
    status: str
    value: float
    threshold: float
    sentence: str


@dataclass(frozen=True)
class Facts:
    """What is known of a deployment now.

    Parameters
    ----------
    drift
        Model → `feature.column` → PSI.
    silent_seconds
        Since the last prediction; None while it does not count.
    lag, latency_ms
        Waiting messages, None while nobody tells; p99, None without predictions.
    recent
        Model → measures of the last scores.
    models
        Those that the deployment has; what stood of others is forgotten. None: not known.
    """

    drift: dict[str, dict[str, float]] = field(default_factory=dict)
    silent_seconds: float | None = None
    lag: float | None = None
    latency_ms: float | None = None
    recent: dict[str, Measures] = field(default_factory=dict)
    models: frozenset[str] | None = None


class AlertBook:
    """Which conditions of a deployment stand; `standing` may be kept and given back after a restart."""

    def __init__(self, deployment: str, standing: set[tuple[str, str]] | None = None) -> None:
        self._deployment = deployment
        self.standing = set(standing or ())

    def judge(self, rules: Rules, facts: Facts) -> list[Alert]:
        """Return what began or ended since the last call."""
        alerts: list[Alert] = []
        seen: set[tuple[str, str]] = set()
        for rule, subject, value, threshold in _values(rules, facts):
            seen.add((rule, subject))
            below = rule == "accuracy"
            beyond = value < threshold if below else value > threshold
            back = value >= min(1.0, threshold * (1 + MARGIN)) if below else value <= threshold * (1 - MARGIN)
            key = rule, subject
            if beyond and key not in self.standing:
                self.standing.add(key)
                where = _drifted(facts.drift[subject], threshold) if rule == "drift" else ""
                alerts.append(self._alert(rule, subject, "raised", value, threshold, where))
            elif back and key in self.standing:
                self.standing.discard(key)
                alerts.append(self._alert(rule, subject, "cleared", value, threshold))
        watched = {name for name in _NAMES if getattr(rules, name) is not None}
        self.standing = {
            key for key in self.standing if (key in seen or key[0] in watched) and not _is_gone(key, facts.models)
        }
        return alerts

    def _alert(self, rule: str, subject: str, status: str, value: float, threshold: float, where: str = "") -> Alert:
        what = f"{rule} of {subject}"
        side = "below" if rule == "accuracy" else "above"
        said = f"is {value:.4g}{where}, {side} {threshold:g}" if status == "raised" else f"is back at {value:.4g}"
        return Alert(
            self._deployment, rule, subject, status, value, threshold, f"deployment {self._deployment}: {what} {said}"
        )


def _is_gone(key: tuple[str, str], models: frozenset[str] | None) -> bool:
    """Whether a condition was about a model that the deployment no longer has."""
    rule, subject = key
    return models is not None and rule in ("drift", *_OF_SCORES) and subject not in models


def _drifted(columns: dict[str, float], threshold: float) -> str:
    """Return which input columns have moved away, the furthest first."""
    beyond = sorted((column for column, value in columns.items() if value > threshold), key=lambda one: -columns[one])
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    return f" ({', '.join(beyond[:_NAMED])}{more})"


#: Columns that an alert names.
_NAMED = 3
_OF_SCORES = ("accuracy", "brier", "rmse")
_NAMES = ("drift", "silence", "lag", "latency_ms", *_OF_SCORES)


def _values(rules: Rules, facts: Facts) -> list[tuple[str, str, float, float]]:
    """Return (rule, subject, value, threshold) of all that can be judged now."""
    found: list[tuple[str, str, float, float]] = []
    if rules.drift is not None:
        found += [("drift", model, max(of.values()), rules.drift) for model, of in facts.drift.items() if of]
    if rules.silence is not None and facts.silent_seconds is not None:
        found.append(("silence", "predictions", facts.silent_seconds, rules.silence))
    if rules.lag is not None and facts.lag is not None:
        found.append(("lag", "ticks", facts.lag, rules.lag))
    if rules.latency_ms is not None and facts.latency_ms is not None:
        found.append(("latency_ms", "predictions", facts.latency_ms, rules.latency_ms))
    for model, measures in facts.recent.items():
        if measures.scored < rules.scores:
            continue
        if rules.accuracy is not None and measures.accuracy is not None:
            found.append(("accuracy", model, measures.accuracy, rules.accuracy))
        if rules.brier is not None and measures.brier is not None:
            found.append(("brier", model, measures.brier, rules.brier))
        if rules.rmse is not None and measures.regression is not None:
            found.append(("rmse", model, measures.regression.rmse, rules.rmse))
    return found

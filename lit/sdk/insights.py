"""Insights from Python: `with insights() as explain: found = explain.situation(team, deployment, index)`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lit.settings import Settings
from lit.streams.errors import FaultError

if TYPE_CHECKING:
    from lit.serving.insights import Insights


@contextmanager
def insights() -> Iterator[Insights]:
    """Yield what answers questions about predictions on record; it ends its processes with the context.

    Of a `situation` ask `impact`, `influences` and `what_if` (see `lit.serving.insights.Insights`).

    Raises
    ------
    FaultError
        If Kafka does not answer.
    """
    from confluent_kafka import KafkaException

    from lit.serving.insights import Insights
    from lit.streams.broker import kafka

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        found = Insights(settings.data, bootstrap)
        try:
            yield found
        except KafkaException as error:
            raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
        finally:
            found.close()

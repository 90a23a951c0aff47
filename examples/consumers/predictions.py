"""Reads a deployment's predictions from Kafka, each once, and prints a line for each; nothing of LIT is needed.

    pip install confluent-kafka
    python predictions.py localhost:9092 lit.demo.predictions.volatility-1

A record may come twice (a worker was killed between writing and remembering). Within a model and symbol `ordinal`
only grows, so who drops what is not above the last one seen has each prediction once. `read_committed` keeps back
what an unfinished transaction wrote.
"""

from __future__ import annotations

import contextlib
import json
import sys

from confluent_kafka import Consumer


def main(bootstrap: str, topic: str, wanted: int | None = None) -> None:
    """Print predictions until interrupted, or until there were as many as wanted."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "my-consumer",
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,  # begin anew each time; commit offsets to go on where you were
        }
    )
    consumer.subscribe([topic])
    last: dict[tuple[str, str], int] = {}
    printed = 0
    while printed != wanted:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error() is not None:  # such as a topic that is not there: it is waited for
            sys.stderr.write(f"{message.error().str()}\n")
            continue
        said = json.loads(message.value())
        key = said["model"], said["symbol"]
        if said["ordinal"] <= last.get(key, -1):
            continue
        last[key] = said["ordinal"]
        values = " ".join(map(str, said["prediction"]))
        sys.stdout.write(f"{said['model']} {said['symbol']} {said['bar_start']} {values}\n")
        sys.stdout.flush()
        printed += 1
    consumer.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python predictions.py BOOTSTRAP_SERVERS TOPIC [HOW_MANY]")
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)

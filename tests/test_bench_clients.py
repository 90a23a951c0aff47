"""`lit bench clients` with few clients: a real `lit up`, every update at every reader, one Kafka reader for all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.kafka
def test_few_clients_are_measured() -> None:
    words = ["bench", "clients", "--clients", "5", "--rate", "100", "--seconds", "2", "--json"]
    done = subprocess.run([sys.executable, "-m", "lit.cli", *words], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["clients"], found["never_read"], found["updates"]) == (5, 1, 200)
    assert found["single"]["count"] == 200
    assert found["readers"]["count"] + found["readers_conflated"] >= 4 * 200
    assert found["kafka_readers"] == 1
    assert found["conflated"] <= 200 and found["closed"] == 0  # the kernel may have taken all
    assert set(found["ratios"]) == {"p50_over_a_single_client", "p99_over_a_single_client"}
    assert "5 clients, 1 of which never read" in done.stderr

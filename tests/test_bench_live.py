"""`lit bench live` for a moment: every bar has its prediction, and each latency stands beside the plain hop's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.kafka
def test_a_moment_is_measured() -> None:
    words = ["bench", "live", "--rate", "500", "--seconds", "3", "--rounds", "1", "--symbols", "10", "--json"]
    done = subprocess.run([sys.executable, "-m", "lit.cli", *words], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    ((found,),) = json.loads(done.stdout)
    assert found["rate"] == 500 and found["missing"] == 0
    assert found["prediction"]["count"] >= 20 and found["hop_of_all"]["count"] >= 1400
    assert 0 < found["hop"]["p50"] < found["prediction"]["p50"] < found["prediction"]["p99"]
    assert found["ratios"]["prediction_p99_less_model_over_hop_p99"] > 0

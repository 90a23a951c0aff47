"""The environment of processes that run a team's components: what Python and TensorFlow need, and no secrets."""

from __future__ import annotations

import os

_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "PYTHONPATH", "LIT_DATA")
_PREFIXES = ("LC_", "CUDA", "NVIDIA", "TF_", "XLA", "OMP_", "OPENBLAS_", "MKL_", "KERAS_")


def child_environment() -> dict[str, str]:
    """Return what of this process' environment a child gets."""
    kept = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PREFIXES)}
    return kept | {"PYTHONUNBUFFERED": "1"}

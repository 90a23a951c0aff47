"""The `lit` command: each area registers its commands; heavy imports stay inside their bodies."""

from __future__ import annotations

import os
import sys

import typer

from lit.cli import (
    adapter,
    assets,
    bars,
    bench,
    build,
    data,
    dataset,
    demo,
    deploy,
    doctor,
    features,
    files,
    insight,
    models,
    project,
    runs,
    schema,
    stream,
    sweeps,
    topics,
    train,
    up,
    vault,
    verify,
    worker,
)
from lit.streams.errors import LitError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From raw tick files to live predictions.",
)


@app.callback()
def _root() -> None:
    """From raw tick files to live predictions."""


for _area in (
    demo,
    up,
    data,
    files,
    adapter,
    project,
    dataset,
    bars,
    features,
    schema,
    build,
    assets,
    models,
    train,
    runs,
    sweeps,
    vault,
    stream,
    deploy,
    insight,
    topics,
    doctor,
    verify,
    bench,
    worker,
):
    _area.register(app)


def main() -> None:
    """Run the command; a user's mistake or a fault is one sentence and a code, and so is what nobody foresaw."""
    try:
        app()
    except LitError as error:
        sys.stderr.write(f"lit: {error}\n")
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        if os.environ.get("LIT_LOG_LEVEL") == "DEBUG":
            raise
        sys.stderr.write(f"lit: {type(error).__name__}: {error} (LIT_LOG_LEVEL=DEBUG shows where)\n")
        raise SystemExit(1) from None

"""`lit demo`: the whole path on real ticks."""

from __future__ import annotations

import time
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="stop after some predictions and print a summary")] = False,
    predictions: Annotated[int, typer.Option(help="how many predictions --once waits for")] = 48,
    epochs: Annotated[int, typer.Option(help="epochs to train")] = 8,
) -> None:
    """From tick files to live predictions: five days of IBM and BAC, a model, and its predictions as they come.

    Starts everything on this machine, caches the sample files, builds a dataset, trains a model, deploys it on a day
    that training did not see, and serves the page until Ctrl-C.
    """
    import signal

    from lit.api.server import running
    from lit.demo import prepare, report, watch
    from lit.settings import Settings

    settings = Settings()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends in order, as Ctrl-C does
    with running(settings) as server:
        typer.echo(f"LIT runs at {server.login_url}")
        summary, stream, deployment = prepare(server, settings, typer.echo, epochs)
        page = f"{server.url}/t/demo/streams/{stream}?deployment={deployment}&token={server.token}"
        typer.echo(f"predictions as they come (and on the page: {page})")
        watch(server, summary, stream, deployment, predictions, typer.echo)
        typer.echo("")
        for line in report(summary):
            typer.echo(line)
        if not once:
            typer.echo(f"\nthe page goes on at {page}\nCtrl-C stops everything")
            try:
                while True:
                    time.sleep(1)
            except KeyboardInterrupt:
                typer.echo("stopping")

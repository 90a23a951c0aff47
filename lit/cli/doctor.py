"""`lit doctor`: is everything here that LIT needs, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lit.streams.errors import LitError

if TYPE_CHECKING:
    from lit.settings import Settings

#: Name of a check → what it found; a `LitError` says what is wrong and how to mend it.
Check = Callable[["Settings"], str]


class _OptionalError(LitError):
    """Something that only some uses need."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON array")] = False,
    settings_only: Annotated[
        bool, typer.Option("--settings", help="what can be set, by environment or lit.toml")
    ] = False,
) -> None:
    """Check what LIT needs on this machine; exit code 1 if something is wrong."""
    import msgspec

    if settings_only:
        _print_settings()
        return

    from lit.settings import Settings

    settings = Settings()
    results = []
    for name, check in CHECKS.items():
        status = "ok"
        try:
            text = check(settings)
        except _OptionalError as error:
            status, text = "note", str(error)
        except LitError as error:
            status, text = "wrong", str(error)
        results.append({"check": name, "status": status, "text": text})
        if not as_json:
            typer.echo(f"{status:<6} {name:<12} {text}")
    if as_json:
        typer.echo(msgspec.json.encode(results).decode())
    if any(result["status"] == "wrong" for result in results):
        raise typer.Exit(1)


def _print_settings() -> None:
    """Print what can be set, its default, and what it is for; never a value, which may hold a password."""
    from lit.settings import Settings

    given = Settings().model_fields_set
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        typer.echo(f"LIT_{name.upper():<12} {'set' if name in given else default:<10} {field.description}")


def _python(_: Settings) -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        raise LitError(f"Python {platform.python_version()}: use 3.11, 3.12 or 3.13, then `make setup`.")
    return platform.python_version()


def _java(settings: Settings) -> str:
    from lit.streams.broker import java

    return "not needed: LIT_KAFKA is set" if settings.kafka else str(java())


def _jars(settings: Settings) -> str:
    from lit.streams.kafka_jars import installed_jars

    return "not needed: LIT_KAFKA is set" if settings.kafka else f"{len(installed_jars())} in place"


def _data(settings: Settings) -> str:
    folder = settings.data.resolve()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK):
        raise LitError(f"{above} cannot be written: set LIT_DATA to a folder of yours.")
    return str(folder)


def _disk(settings: Settings) -> str:
    folder = settings.data.resolve()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(above).free / 1e9
    if free < 2:
        raise LitError(f"{free:.1f} GB free at {above}: free some, 2 GB at least.")
    return f"{free:.0f} GB free"


def _port(settings: Settings) -> str:
    from lit.streams.store_open import running_server

    if server := running_server(settings.data):
        return f"LIT runs at {server[0]}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise LitError(f"port {settings.port} of {settings.host} is taken: set LIT_PORT to another.") from error
    return f"{settings.host}:{settings.port} is free"


def _broker(settings: Settings) -> str:
    from lit.streams.broker import EmbeddedBroker, answers

    address = settings.kafka or EmbeddedBroker(settings.data).running()
    if address is None:
        return "not running; LIT starts it when needed"
    if not answers(address):
        where = "check LIT_KAFKA" if settings.kafka else f"see {settings.data / '.kafka' / 'broker.log'}"
        raise LitError(f"no answer at {address}: {where}.")
    return f"answers at {address}"


def _store(settings: Settings) -> str:
    from lit.streams.store_open import open_store, running_server

    if not (settings.clickhouse or running_server(settings.data) or (settings.data / ".store").exists()):
        return "none yet; LIT makes it when needed"
    with open_store(settings.data, settings.clickhouse) as stores:
        return f"answers, {stores.team('doctor').count('none')} ticks in an empty place, as it should"


def _page(_: Settings) -> str:
    from lit import api

    if not (Path(str(api.__file__)).parent / "static" / "index.html").exists():
        raise _OptionalError("the page is not built: `make setup` builds it.")
    return "built"


def _chromium(_: Settings) -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    cached = Path.home() / ".cache" / "ms-playwright"
    if found or any(cached.glob("chromium*")):
        return found or str(cached)
    raise _OptionalError("none found: only browser tests need it (`playwright install chromium`).")


CHECKS: dict[str, Check] = {
    "Python": _python,
    "Java": _java,
    "Kafka jars": _jars,
    "data folder": _data,
    "disk": _disk,
    "port": _port,
    "broker": _broker,
    "tick store": _store,
    "page": _page,
    "Chromium": _chromium,
}

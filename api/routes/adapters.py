"""Source adapters of a team: listed, shown with a form for their parameters, edited, tried on a file."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import msgspec
from fastapi import APIRouter
from pydantic import Field

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.schemas import Strict
from lit.api.services import Services
from lit.streams.adapter_files import AdapterInfo, adapter_info, adapter_infos, delete_adapter, save_adapter
from lit.streams.errors import FaultError, UserError
from lit.streams.file_check import FileCheck
from lit.streams.parameters import effective
from lit.streams.raw_files import raw_path
from lit.streams.sources import declared_parameters, known_adapters
from lit.streams.workspace import Workspace

#: A check reads the file twice; what takes longer is for the command line.
CHECK_SECONDS = 300.0


class AdapterSource(Strict):
    """Python source of an adapter."""

    source: str = Field(max_length=1_000_000)


class CheckOrder(Strict):
    """A file within `raw`, and parameters to read it with."""

    path: str
    parameters: dict[str, Any] = Field(default_factory=dict)


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/adapters", tags=["files"])

    @routes.get("")
    @needs(Role.VIEWER)
    def adapters(team: str) -> list[AdapterInfo]:
        """Return the adapters that the team can use."""
        return adapter_infos(services.workspace(team))

    @routes.get("/{name}")
    @needs(Role.VIEWER)
    def adapter(team: str, name: str) -> AdapterInfo:
        """Return an adapter."""
        return adapter_info(_existing(services, team, name), name)

    @routes.put("/{name}")
    @needs(Role.EDITOR)
    def put(team: str, name: str, body: AdapterSource) -> AdapterInfo:
        """Write the team's adapter of this name; files cached by the old one are kept, and told apart from new ones."""
        return save_adapter(Workspace(services.data, team), name, body.source)

    @routes.delete("/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete(team: str, name: str) -> None:
        """Delete the team's adapter; where one of that name is shipped, that one holds again."""
        delete_adapter(_existing(services, team, name), name)

    @routes.post("/{name}/check")
    @needs(Role.EDITOR)
    async def check(team: str, name: str, body: CheckOrder) -> FileCheck:
        """Say what an adapter makes of a file; it runs in a process of its own."""
        workspace = _existing(services, team, name)
        effective(declared_parameters(workspace, name), body.parameters, name)
        path = raw_path(workspace, body.path)
        if not path.is_file():
            raise NotFoundError(f"there is no file {body.path!r} in raw of team {team!r}")
        parameters = [f"--param={key}={_text(value)}" for key, value in body.parameters.items()]
        command = [sys.executable, "-m", "lit.cli", "adapter", "check", name, str(path), "--team", team, "--json"]
        return msgspec.json.decode(await _output([*command, *parameters], services), type=FileCheck)

    return routes


async def _output(command: list[str], services: Services) -> bytes:
    """Return what a command writes; its process is killed when it takes too long or the caller goes."""
    environment = {**os.environ, "LIT_DATA": str(services.data)}
    try:
        with anyio.fail_after(CHECK_SECONDS):
            done = await anyio.run_process(command, check=False, env=environment)
    except TimeoutError:
        raise UserError(
            f"the check took more than {CHECK_SECONDS:.0f} s and was ended: use `lit adapter check` on the machine"
        ) from None
    if done.returncode in (0, 1) and done.stdout:
        return bytes(done.stdout)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    said = lines[-1].removeprefix("lit: ") if lines else f"it ended with code {done.returncode}"
    raise (UserError if done.returncode == 2 else FaultError)(said)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _existing(services: Services, team: str, name: str) -> Workspace:
    workspace = services.workspace(team)
    if name not in known_adapters(workspace):
        raise NotFoundError(f"team {team!r} has no adapter {name!r}: there are {', '.join(known_adapters(workspace))}")
    return workspace

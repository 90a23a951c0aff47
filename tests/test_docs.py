"""What is documented exists, and what exists is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from lit.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "ui" / "README.md"])
COMMAND = typer.main.get_command(app)


def commands(path: tuple[str, ...] = ()) -> set[str]:
    found = COMMAND
    for name in path:
        found = found.commands[name]  # type: ignore[attr-defined]
    return set(getattr(found, "commands", {}))


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text()
    missing = {name for name in commands() if not re.search(rf"lit {name}\b", text)}
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_a_page_shows_exist(page: Path) -> None:
    for name in re.findall(r"(?:^|`|· )lit ([a-z]+)\b", page.read_text(), re.MULTILINE):
        assert name in commands(), f"{page.name} shows `lit {name}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_says_what_it_is_for() -> None:
    def walk(group: object, path: str) -> None:
        for name, command in getattr(group, "commands", {}).items():
            assert command.help or command.get_short_help_str(), f"{path} {name} has no help"
            for parameter in command.params:
                hidden = getattr(parameter, "hidden", False)
                if not hidden and parameter.name not in ("help", "install_completion", "show_completion"):
                    assert getattr(parameter, "help", None), f"{path} {name}: {parameter.name} has no help"
            walk(command, f"{path} {name}")

    walk(COMMAND, "lit")

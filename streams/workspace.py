"""Where a team's files are (the layout is a promise to users, see the README), and which names may be theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lit.streams.errors import UserError

_REMOVED = ".json.removed"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]*")


def is_name(name: str) -> bool:
    """Tell whether `name` may name a file or topic."""
    return bool(_NAME.fullmatch(name)) and ".." not in name and len(name) <= 128


def checked_name(name: str, what: str = "name") -> str:
    """Return `name` if it may name a file or topic, else raise `UserError`."""
    if not is_name(name):
        raise UserError(
            f"{what} {name!r} is not usable: begin with a letter or digit, then letters, digits, "
            "blanks, '_', '-' and single dots only (at most 128)."
        )
    return name


@dataclass(frozen=True, slots=True)
class Workspace:
    """One team's folders under the data root; nothing outside them is ever touched for a team."""

    data: Path
    team: str

    def __post_init__(self) -> None:
        checked_name(self.team, "team")

    @property
    def root(self) -> Path:
        """The team's own folder."""
        return self.data / self.team

    def folder(self, *parts: str) -> Path:
        """Return a folder of the team, made if missing; each part is a checked name."""
        path = self.path(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, *parts: str) -> Path:
        """Return a path inside the team's folder; each part is a checked name."""
        return self.root.joinpath(*(checked_name(part) for part in parts))

    def names(self, folder: str) -> list[str]:
        """Return what a folder's JSON files define, by name (`streams`, `preview`); hidden ones are no definitions."""
        return sorted(path.stem for path in self.path(folder).glob("[!.]*.json"))

    def removed(self, folder: str) -> list[str]:
        """Return what a folder's files defined once; its topics are still there."""
        return sorted(path.name.removesuffix(_REMOVED) for path in self.path(folder).glob(f"[!.]*{_REMOVED}"))

    def check_topics(self, folder: str, name: str) -> None:
        """Raise `UserError` if the topics of a new definition would be those of another one."""
        for other in (*self.names(folder), *self.removed(folder)):
            if other != name and topic_part(other) == topic_part(name):
                raise UserError(f"{name!r} would have the topics of {other!r}: choose another name")


def topic_part(name: str) -> str:
    """Return a name as topics have it."""
    return name.replace(" ", "_")


def removal_of(path: Path) -> Path:
    """Return the file that is there in place of a definition that was removed; it says what its topics are of."""
    return path.with_name(f"{path.stem}{_REMOVED}")

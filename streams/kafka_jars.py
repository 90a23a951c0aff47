"""The jars of Apache Kafka: resolved by jgo from Maven Central, pinned by `kafka_jars.lock`, kept in the environment.

The lock names each jar by its coordinate and SHA-256, so set-up downloads exactly these files and nothing resolves
versions anew; once they are there, nothing contacts the network.
"""

from __future__ import annotations

import hashlib
import logging
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit.streams.errors import FaultError

KAFKA_VERSION = "4.3.0"
#: The broker, and the binding that lets its SLF4J logging reach log4j2 (`!`: its parent's versions do not count).
ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!")
LOCK = Path(__file__).with_name("kafka_jars.lock")
#: Inside the virtual environment: made by `make setup`, gone with it, the same for every user of it.
CACHE = Path(sys.prefix) / "share" / "lit" / "maven"


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: a Maven coordinate and the SHA-256 of its jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    def path(self, root: Path) -> Path:
        """Return where the jar is in a Maven repository folder."""
        folder = root.joinpath(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def locked_jars() -> list[Jar]:
    """Read the lock, in class-path order."""
    jars = []
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith("#"):
            coordinate, digest = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, digest.removeprefix("sha256:")))
    return jars


def installed_jars(root: Path = CACHE) -> list[Path]:
    """Return the class path without contacting the network.

    Raises
    ------
    FaultError
        If a jar is missing.
    """
    paths = [jar.path(root) for jar in locked_jars()]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FaultError(
            f"{len(missing)} of the {len(paths)} Kafka jars are missing in {root} (first: {missing[0]}). "
            "Run `make setup` with a network, or set LIT_KAFKA to a running broker."
        )
    return paths


def resolve_jars(root: Path = CACHE) -> list[Path]:
    """Download what is missing or damaged, check every jar against the lock, return the class path.

    Raises
    ------
    FaultError
        If a jar cannot be downloaded or differs from the lock.
    """
    jars = locked_jars()
    wanted = [jar for jar in jars if not _intact(jar.path(root), jar.sha256)]
    if wanted:
        root.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own, then renamed: a killed download leaves no half jar where a whole one is expected.
        with tempfile.TemporaryDirectory(dir=root, prefix=".part-") as scratch, ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda jar: _download(jar, root, Path(scratch)), wanted))
    return [jar.path(root) for jar in jars]


def _download(jar: Jar, root: Path, scratch: Path) -> None:
    try:
        found = _context(scratch).project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        target = jar.path(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        intact = _intact(found, jar.sha256)
        if intact:
            found.replace(target)
    except Exception as error:  # requests', jgo's and the disk's errors have no common class
        raise FaultError(
            f"{jar} could not be downloaded: {str(error)[:300]}. Check the network and run `make setup` again."
        ) from error
    if not intact:
        raise FaultError(f"{jar} as downloaded differs from the lock: a proxy may have altered it. Try again.")


def _intact(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _context(repo: Path) -> Any:
    from jgo.maven import MavenContext

    logging.getLogger("jgo").setLevel(logging.ERROR)
    return MavenContext(repo_cache=repo, timeout=60)


def write_lock(root: Path = CACHE) -> int:
    """Resolve `ENDPOINTS` anew and write the lock; returns the number of jars."""
    from jgo import EnvironmentBuilder

    environment = EnvironmentBuilder(context=_context(root), cache_dir=root / ".envs").from_endpoint(
        "+".join(ENDPOINTS)
    )
    names = sorted({path.name for path in environment.all_jars})
    lines = ["# Jars of the embedded broker; renewed by `python -m lit.streams.broker lock`."]
    for path in sorted(root.rglob("*.jar")):
        if path.name in names and ".envs" not in path.parts:
            *group, artifact, version, _ = path.relative_to(root).parts
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{'.'.join(group)}:{artifact}:{version} sha256:{digest}")
    LOCK.write_text("\n".join(lines) + "\n")
    return len(lines) - 1

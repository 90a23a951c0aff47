"""Users' code in a process of its own: whatever it does, the platform goes on and the user is told why."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lit.features.feature import Feature
from lit.features.sandbox import call
from lit.features.scripts import load_script, read_outline
from lit.features.tapes import write_tape
from lit.features.trial import payload
from lit.streams.errors import UserError
from lit.streams.tick import tick_block
from tests.test_traders_scripts import script, ticks


def run(tmp_path: Path, source: str, index: int = 3, **limits: Any) -> Any:
    """Try a script on a tape of ten trades."""
    folder = tmp_path / "scripts"
    folder.mkdir(exist_ok=True)
    path, tape = folder / "mine.py", tmp_path / "tape.arrow"
    path.write_text(textwrap.dedent(source))
    write_tape(tape, tick_block("A", 0, range(10), [float(i) for i in range(10)], [1.0] * 10))
    features = payload([("mine", read_outline(path), {})])
    return call("lit.features.trial:try_on", {"features": features, "tapes": [str(tape)], "index": index}, **limits)


def test_a_script_s_values_reads_and_messages_come_back(tmp_path: Path) -> None:
    answer = run(
        tmp_path,
        '''
        """
        Returns
        -------
        [ price ]
        """
        import logging
        def feature(adapter, index):
            print("printed", index)
            logging.info("logged")
            return [adapter[index - 1]["Price"]]
        ''',
    )
    assert answer.value["rows"] == [[2.0]] and answer.value["columns"] == ["price"] and not answer.value["rejected"]
    assert answer.value["reads"] == [{"text": "adapter[i - 1]", "beyond": False, "declared": False}]
    assert answer.log == "printed 3\nINFO logged\n" and answer.value["seconds"] > 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [1 / 0]", "script 'mine', line 3: ZeroDivisionError"),
        ("while True: pass", "longer than 1 s, in mine.py, line 3"),
        ("import time; time.sleep(60)", "longer than 1 s, in mine.py, line 3"),
        ("return [len(bytearray(3 << 30))]", "script 'mine', line 3: MemoryError"),
        ("return np.ones((1 << 16, 1 << 16))", "script 'mine', line 3: .*MemoryError"),
        ("os.kill(os.getpid(), 11)", r"crashed its process .SIGSEGV., in mine.py, line 3"),
        ("os._exit(7)", "ended its process .exit code 7."),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("while True: print('x' * 1_000_000)", "script 'mine', line 3: OSError: .*File too large"),
    ],
)
def test_whatever_a_script_does_the_user_is_told(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        run(tmp_path, f"import os, numpy as np\ndef feature(adapter, index):\n    {body}\n", seconds=1, memory=1 << 30)


def test_a_module_that_hangs_while_it_is_loaded_ends_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"longer than 1 s, in mine.py, line 1"):
        run(tmp_path, "while True: pass\n", seconds=1)


def test_a_child_knows_no_secrets_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_SECRET_TOKEN", "42")
    source = "import os\ndef feature(adapter, index): return [float('LIT_SECRET_TOKEN' in os.environ)]\n"
    assert run(tmp_path, source).value["rows"] == [[0.0]] and os.environ["LIT_SECRET_TOKEN"] == "42"


def test_what_a_script_prints_is_no_answer(tmp_path: Path) -> None:
    source = "import os\ndef feature(adapter, index):\n    os.write(1, b'{\"value\": 1}\\n')\n    return [5.0]\n"
    assert run(tmp_path, source).value["rows"] == [[5.0]]


def test_a_feature_is_judged_in_a_child(tmp_path: Path) -> None:
    tape = tmp_path / "real.arrow"
    write_tape(tape, ticks().slice(20_000, 24_000))
    for name, kind in [("sma", "clean"), ("price_next_bars", "label")]:
        params = {"count": 2}
        features = payload([Feature(name, script(name), params)])
        verdict = call("lit.features.trial:examine", {"features": features, "tapes": [str(tape)]}, seconds=60).value
        assert verdict["kind"] == kind and verdict["feature"] == name


def test_an_index_outside_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="index 10 is outside 0…9"):
        run(tmp_path, "def feature(adapter, index): return [1.0]", index=10)


def test_scripts_are_not_run_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('"""Title."""\nraise RuntimeError("ran")\n')
    assert read_outline(path).summary == "Title."
    with pytest.raises(UserError, match="line 2: RuntimeError: ran"):
        load_script(path)

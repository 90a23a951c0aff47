"""Sweeps: what may vary, when a trial is given up, and that a killed sweep goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import sweep as sweeps
from lit.trainer.canvas import parse_canvas
from lit.trainer.component import load_components
from lit.trainer.runfolder import runs
from lit.trainer.searchspace import read_choices, read_space, varied
from lit.trainer.sweep import Plan
from lit.trainer.sweep_process import Search, report
from tests.training import canvas, write_asset

SPACE = {
    "globals.learning_rate": "0.001..0.1 log",
    "dense.layers": ["8", "8, 4"],
    "globals.batch_size": "16..64 step 16",
}


def until(condition: Callable[[], Any], seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_space_is_read_with_ranges_and_choices(workspace: Workspace) -> None:
    rate, layers, batch = read_space(SPACE, parse_canvas(canvas()), load_components(workspace))
    assert (rate.low, rate.high, rate.log, rate.whole) == (0.001, 0.1, True, False)
    assert layers.choices == ("8", "8, 4")
    assert (batch.low, batch.high, batch.step, batch.whole) == (16, 64, 16, True)
    assert read_choices("dense.layers = 8 | 8, 4") == {"dense.layers": "8 | 8, 4"}
    design = varied(parse_canvas(canvas()), {"dense.layers": "8, 4"})
    assert design.nodes[2].properties["layers"] == "8, 4"
    assert canvas()["nodes"][2]["properties"]["layers"] == "32, 16"


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "varies nothing"),
        ({"dens.layers": "8|9"}, "of no node.*bars, atr, dense"),
        ({"dense.layer": "8|9"}, "no property 'layer'"),
        ({"dense.layers": "8..16"}, "no number"),
        ({"dense.layers": "8|many"}, "'many'"),
        ({"dense.dropout": "0.5..0.1"}, "smaller number"),
        ({"globals.learning_rate": "0..0.1 log"}, "above 0 with log"),
        ({"globals.batch_size": "1.5..3"}, "whole number"),
        ({"globals.batch_size": []}, "varies over"),
    ],
)
def test_a_space_that_cannot_be_is_refused(space: dict[str, Any], said: str, workspace: Workspace) -> None:
    with pytest.raises(UserError, match=said):
        read_space(space, parse_canvas(canvas()), load_components(workspace))


def test_a_trial_worse_than_the_median_is_given_up_at_the_same_epoch_however_far_it_got() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(2))
    for level in (0.1, 0.2):
        trial = study.ask()
        assert not report(trial, [{"epoch": n, "val_loss": level / n} for n in (1, 2, 3)], "val_loss", True, False)
        study.tell(trial, level)
    rows = [{"epoch": 1.0, "val_loss": 0.12}, *({"epoch": float(n), "val_loss": 0.11} for n in range(2, 9))]
    verdicts = []
    for seen in (rows[:3], rows):
        trial = study.ask()
        verdicts.append((report(trial, seen, "val_loss", True, False), trial.study.trials[-1].intermediate_values))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert verdicts[0] == verdicts[1] and verdicts[0][0] and list(verdicts[0][1]) == [1, 2]
    assert not report(study.ask(), rows, "val_loss", False, False)
    with pytest.raises(UserError, match="'val_lost' is no column"):
        report(study.ask(), rows, "val_lost", True, False)


@pytest.mark.fault
def test_a_killed_sweep_goes_on_with_the_trials_that_it_would_have_made(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "contoso")
    write_asset(workspace, train=120, test=60)
    plan = Plan(SPACE, trials=3, seed=5, epochs=2)
    sweep = sweeps.start(workspace, parse_canvas(canvas()), plan, name="search")
    until(lambda: len(sweep.trials()) == 2)
    os.kill(sweep.session()["pid"], signal.SIGKILL)
    until(lambda: sweep.status() == "failed")
    with sweep.journal.open("ab") as journal:  # as a kill in the middle of a write leaves it
        journal.write(b'{"op_code":')
    sweep.journal.with_name("journal.log.lock").symlink_to(sweep.journal)
    sweeps.resume(sweeps.find(workspace, "search"))
    until(lambda: sweep.status() in ("finished", "failed"))
    assert sweep.status() == "finished", sweep.log_tail()
    trials = sweep.trials()
    assert [(each.number, each.state, each.run) for each in trials] == [(n, "complete", n + 1) for n in range(3)]
    assert len(runs(workspace)) == 3  # none was trained twice
    for each in trials:
        perf = runs(workspace)[each.number].perf()
        assert each.value == min(row["val_loss"] for row in perf) and len(perf) == 2
    best = sweep.best()
    assert best is not None and best.value == min(each.value for each in trials if each.value is not None)
    _same_as_undisturbed(sweep, trials)


def _same_as_undisturbed(sweep: sweeps.Sweep, trials: list[sweeps.TrialRecord]) -> None:
    """Ask a sampler that nothing happened to for the same trials."""
    import optuna
    from optuna.samplers import TPESampler

    study = optuna.create_study()
    space = {each.name: each.distribution() for each in Search(sweep)._space}
    for each in trials:
        study.sampler = TPESampler(seed=5 * 1_000_003 + each.number)
        trial = study.ask(space)
        assert trial.params == each.params
        study.tell(trial, each.value)


@pytest.mark.fault
def test_a_trial_that_optuna_knows_and_no_run_does_is_still_trained(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "contoso")
    write_asset(workspace, train=60, test=30)
    plan = Plan({"dense.dropout": "0..0.5"}, trials=1, epochs=1)
    sweep = sweeps.create(workspace, parse_canvas(canvas()), plan, name="torn")
    sweep.set_session(status="stopped")
    search = Search(sweep)
    asked = search.study.ask({each.name: each.distribution() for each in search._space})
    sweeps.resume(sweep)
    until(lambda: sweep.status() in ("finished", "failed"))
    (trial,) = sweep.trials()
    assert (trial.state, trial.params, len(runs(workspace))) == ("complete", asked.params, 1)

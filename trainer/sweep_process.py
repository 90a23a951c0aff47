"""The process of a sweep: `python -m lit.trainer.sweep_process --data … --team … --sweep …`.

It asks Optuna for properties, starts a run for each trial, reports epochs as they come, and ends what is hopeless.
Optuna's journal says what has been decided, the runs' folders what has been trained; from both a killed sweep goes on
as if nothing had happened: runs live on meanwhile, each epoch is judged once and in its order, and the sampler is
seeded anew for each trial.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import time
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from lit.streams.errors import LitError, UserError
from lit.streams.records import Event
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace
from lit.trainer import experiments
from lit.trainer.announce import Announcer
from lit.trainer.canvas import parse_canvas
from lit.trainer.component import read_component
from lit.trainer.processfolder import ENDED
from lit.trainer.runfolder import RunFolder, runs
from lit.trainer.searchspace import read_space, varied
from lit.trainer.sweep import Sweep, TrialRecord, find

_POLL_SECONDS = 0.2
#: Trials that train to their end before others are measured by them.
_PRUNE_AFTER_TRIALS = 4


def main(arguments: list[str] | None = None) -> int:
    """Run a sweep that has a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lit.trainer.sweep_process")
    for name in ("data", "team", "sweep"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--kafka", help="where events go; unset: nowhere")
    given = parser.parse_args(arguments)
    sweep = find(Workspace(Path(given.data), given.team), given.sweep)
    sweep.set_session(status="running", pid=os.getpid(), create_time=psutil.Process().create_time(), error="")
    announcer = Announcer(given.kafka, given.team)
    with (sweep.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a predecessor that is about to end is waited for
        try:
            return _run(sweep, given.kafka, announcer)
        finally:
            announcer.close()


def _run(sweep: Sweep, kafka: str | None, announcer: Announcer) -> int:
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        search = Search(sweep, kafka, announcer)
        try:
            while not asked and search.step():
                time.sleep(_POLL_SECONDS)
        finally:
            search.halt()
    except Exception as error:
        code = error.exit_code if isinstance(error, LitError) else 1
        text = str(error) if isinstance(error, LitError) else f"{type(error).__name__}: {error}"
        sweep.log(text if isinstance(error, LitError) else traceback.format_exc())
        sweep.set_session(status="failed", error=text, exit_code=code)
        return code
    status = "stopped" if asked else "finished"
    sweep.log(status)
    sweep.set_session(status=status)
    announcer(Event("sweep", sweep.name, status, iso_ms(time.time_ns()), {}))
    return 0


class Search:
    """The trials of a sweep: those decided (in Optuna's journal) and those under way (runs)."""

    def __init__(self, sweep: Sweep, kafka: str | None = None, announcer: Announcer | None = None) -> None:
        self._sweep, self._plan, self._kafka, self._announcer = sweep, sweep.plan, kafka, announcer
        self._canvas = parse_canvas(sweep.definition["canvas"])
        sources = sweep.definition["components"]
        self._components = {name: read_component(name, source) for name, source in sources.items()}
        self._space = read_space(self._plan.space, self._canvas, self._components)
        self.study = _study(sweep)
        self._running: dict[int, tuple[Any, RunFolder]] = {}
        for frozen in self.study.get_trials(deepcopy=False):
            if not frozen.state.is_finished():
                self._adopt(frozen)
        self._write()

    def step(self) -> bool:
        """Look at the runs, start what may start; return False when nothing is left to do."""
        for trial, folder in list(self._running.values()):
            self._follow(trial, folder)
        busy = {str(folder.read_json("definition.json")["device"]) for _, folder in self._running.values()}
        for device in self._plan.devices:
            if device not in busy and len(self.study.get_trials(deepcopy=False)) < self._plan.trials:
                self._start(device)
        return bool(self._running)

    def halt(self) -> None:
        """Stop the runs; their trials stay undecided, for `resume`."""
        while waiting := [folder for _, folder in self._running.values() if folder.status() not in ENDED]:
            for folder in waiting:
                if folder.active():  # one that is just being started can't be signalled yet
                    experiments.stop(folder)
            time.sleep(_POLL_SECONDS)

    def _start(self, device: str) -> None:
        from optuna.samplers import TPESampler

        number = len(self.study.get_trials(deepcopy=False))
        # The state of a sampler is lost with its process: one seeded by the trial's number needs none.
        self.study.sampler = TPESampler(seed=self._plan.seed * 1_000_003 + number)
        trial = self.study.ask({each.name: each.distribution() for each in self._space})
        self._launch(trial, device)

    def _launch(self, trial: Any, device: str) -> None:
        folder = experiments.start(
            self._sweep.workspace,
            varied(self._canvas, trial.params),
            device=device,
            epochs=self._plan.epochs,
            description=f"trial {trial.number} of sweep {self._sweep.name}",
            sweep={"name": self._sweep.name, "trial": trial.number, "params": trial.params},
            components=self._components,
            kafka=self._kafka,
        )
        self._running[trial.number] = trial, folder
        settings = ", ".join(f"{name} {value}" for name, value in trial.params.items())
        self._say(f"trial {trial.number} is run {folder.name} on {device}: {settings}")
        self._write()

    def _adopt(self, frozen: Any) -> None:
        """Go on with a trial that an earlier process of this sweep began."""
        from optuna.trial import Trial

        trial = Trial(self.study, frozen._trial_id)
        folder = self._runs().get(frozen.number)
        if folder is None:  # killed between Optuna's answer and the run's start
            return self._launch(trial, self._plan.devices[frozen.number % len(self._plan.devices)])
        stopped = folder.status() in ("stopped", "paused") and not frozen.user_attrs.get("pruned")
        died = folder.status() == "failed" and "exit_code" not in folder.session()
        self._running[frozen.number] = trial, folder
        if stopped or died:
            self._say(f"trial {frozen.number} goes on: run {folder.name}")
            experiments.resume(folder, kafka=self._kafka)
        return None

    def _follow(self, trial: Any, folder: RunFolder) -> None:
        from optuna.trial import TrialState

        status = folder.status()  # asked before reading, so that no epoch is missed
        rows = folder.perf()
        pruned = report(trial, rows, self._plan.metric, self._plan.pruner != "none", self._sweep.rising)
        if pruned and folder.active():
            trial.set_user_attr("pruned", True)
            experiments.stop(folder)
            status = "running"  # its device is free only when it has ended
        if status not in ENDED:
            return
        value = best_value(rows, self._plan.metric, self._sweep.rising)
        if pruned:
            self._tell(trial, None, TrialState.PRUNED)
        elif status == "finished" and value is not None:
            self._tell(trial, value[1], TrialState.COMPLETE)
        else:
            reason = folder.why_failed() if status == "failed" else f"its run was {status}"
            trial.set_user_attr("error", reason)
            self._tell(trial, None, TrialState.FAIL)

    def _tell(self, trial: Any, value: float | None, state: Any) -> None:
        self.study.tell(trial.number, value, state)
        _, folder = self._running.pop(trial.number)
        shown = f" with {self._plan.metric} {value:.6g}" if value is not None else ""
        self._say(f"trial {trial.number} (run {folder.name}) is {_state(state)}{shown}")
        self._write()

    def _write(self) -> None:
        known = self._runs()
        records = []
        for frozen in self.study.get_trials(deepcopy=False):
            folder = known.get(frozen.number)
            best = best_value(folder.perf(), self._plan.metric, self._sweep.rising) if folder else None
            epoch, value = best or (None, None)
            error = str(frozen.user_attrs.get("error", ""))
            run = folder.run if folder else None
            records.append(TrialRecord(frozen.number, frozen.params, _state(frozen.state), run, value, epoch, error))
        self._sweep.write_json("trials.json", [asdict(each) for each in records])

    def _runs(self) -> dict[int, RunFolder]:
        found = {}
        for folder in runs(self._sweep.workspace, self._sweep.project):
            of = folder.read_json("definition.json").get("sweep") or {}
            if of.get("name") == self._sweep.name:
                found[int(of["trial"])] = folder
        return found

    def _say(self, text: str) -> None:
        self._sweep.log(text)
        if self._announcer:
            detail = {"text": text, "trials": len(self.study.get_trials(deepcopy=False)), "of": self._plan.trials}
            self._announcer(Event("sweep", self._sweep.name, "trial", iso_ms(time.time_ns()), detail))


def report(trial: Any, rows: list[dict[str, float]], metric: str, prune: bool, rising: bool) -> bool:
    """Report epochs that Optuna does not know yet, one by one; return True at the first where the trial is hopeless.

    What comes after that epoch is not reported, so the verdict does not depend on how far a run got meanwhile.
    """
    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    if frozen.user_attrs.get("pruned"):
        return True
    best = None
    for row in rows:
        if metric not in row:
            raise UserError(f"metric {metric!r} is no column of perf.csv: use one of {', '.join(row)}")
        epoch, value = int(row["epoch"]), row[metric]
        best = value if best is None else (max if rising else min)(best, value)
        if epoch in frozen.intermediate_values:
            continue
        trial.report(best, epoch)
        if prune and trial.should_prune():
            return True
    return False


def best_value(rows: list[dict[str, float]], metric: str, rising: bool) -> tuple[int, float] | None:
    """Return epoch and value of the best row; None if no row has the metric."""
    found = [(int(row["epoch"]), row[metric]) for row in rows if metric in row]
    return (max if rising else min)(found, key=lambda pair: pair[1], default=None)


def _state(state: Any) -> str:
    return {"FAIL": "failed"}.get(state.name, state.name.lower())


def _study(sweep: Sweep) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    _repair(sweep.journal)
    median = optuna.pruners.MedianPruner(_PRUNE_AFTER_TRIALS)
    return optuna.create_study(
        study_name=sweep.name,
        storage=JournalStorage(JournalFileBackend(str(sweep.journal.resolve()))),
        direction="maximize" if sweep.rising else "minimize",
        pruner=median if sweep.plan.pruner == "median" else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def _repair(journal: Path) -> None:
    """Remove what a kill may leave: Optuna's lock (ours is held, so nobody has it), a last line without its end."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.is_file() and not (data := journal.read_bytes()).endswith(b"\n"):
        os.truncate(journal, data.rfind(b"\n") + 1)


if __name__ == "__main__":
    sys.exit(main())

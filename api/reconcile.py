"""What a supervisor should do next, as a pure function of what should run, what runs and the time.

No process is started here and no clock is read: `plan` says what to do, `after_exit` what an exit means.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from lit.api.workers import Status, WorkerSpec

#: Exit code of a user's mistake: starting again would end the same way.
USER_MISTAKE = 2
#: A worker that lived this long counts as having worked: its next failure is a first one.
STEADY_SECONDS = 30.0
#: A worker that lives this long is shown as running.
SETTLED_SECONDS = 2.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
#: Roles that may come to an end by themselves: a replay of files is over some day, and so is a caching.
FINITE_ROLES = ("stream", "cache")


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What the supervisor knows of a worker; times are seconds of a monotonic clock.

    Parameters
    ----------
    failures
        Exits in a row without a steady life between them.
    restarts
        All starts but the first.
    not_before
        When a worker in back-off may start.
    renew
        Whether a successor was asked for though nothing changed.
    """

    spec: WorkerSpec
    status: Status
    since: float
    pid: int | None = None
    failures: int = 0
    restarts: int = 0
    not_before: float = 0.0
    last_error: str | None = None
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Start this worker."""

    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """End this worker, which runs."""

    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """This worker does not run and should not: it is no longer listed."""

    name: str


@dataclass(frozen=True, slots=True)
class StartNext:
    """Start a successor of this worker, which goes on meanwhile."""

    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class StopNext:
    """End this worker's successor: it is not wanted any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Promote:
    """This worker has ended, and its successor takes its place."""

    name: str


Action = Start | Stop | Forget | StartNext | StopNext | Promote


def plan(
    desired: Iterable[WorkerSpec],
    known: Mapping[str, WorkerState],
    now: float,
    successors: Mapping[str, WorkerState] | None = None,
    ready: Container[str] = (),
) -> list[Action]:
    """Return what brings reality nearer to what is desired; nothing, once they agree.

    A worker that changed is stopped; once it is gone, the same function says to start the new one. One with `handover`
    goes on until its successor is ready, or for ever if the successor fails.

    Parameters
    ----------
    successors
        Name → the state of a worker's successor.
    ready
        Names of those whose successor is ready.
    """
    wanted = {spec.name: spec for spec in desired}
    waiting = successors or {}
    actions: list[Action] = []
    for name, state in known.items():
        spec, following = wanted.get(name), waiting.get(name)
        if state.pid is not None:
            if spec is not None and spec.handover:
                actions += _hand_over(spec, state, following, now, name in ready)
            elif spec is None or changed(spec, state):
                actions.append(Stop(name))
        elif following is not None and following.pid is not None:
            actions.append(Promote(name) if spec is not None and following.spec == spec else StopNext(name))
        elif spec is None:
            actions.append(Forget(name))
        elif changed(spec, state) or (state.status == "backoff" and now >= state.not_before):
            actions.append(Start(spec))
    actions += [Start(spec) for name, spec in wanted.items() if name not in known]
    return actions


def changed(spec: WorkerSpec, state: WorkerState) -> bool:
    """Whether a worker is not what it should be."""
    return (spec.argv, spec.revision) != (state.spec.argv, state.spec.revision)


def _hand_over(
    spec: WorkerSpec, state: WorkerState, following: WorkerState | None, now: float, ready: bool
) -> list[Action]:
    """Return what to do about a running worker that may have a successor."""
    if not changed(spec, state) and not state.renew:
        return [StopNext(spec.name)] if following is not None and following.pid is not None else []
    if following is None or following.pid is None:
        again = following is None or changed(spec, following)
        due = following is not None and following.status == "backoff" and now >= following.not_before
        return [StartNext(spec)] if again or due else []
    if changed(spec, following):
        return [StopNext(spec.name)]
    return [Stop(spec.name)] if ready else []


def started(previous: WorkerState | None, spec: WorkerSpec, pid: int, now: float) -> WorkerState:
    """Return the state of a worker that was just started."""
    if previous is None or changed(spec, previous):
        return WorkerState(spec, "starting", now, pid)
    return replace(previous, spec=spec, status="starting", since=now, pid=pid, restarts=previous.restarts + 1)


def settled(state: WorkerState, now: float) -> WorkerState:
    """Return the state of a worker that still runs."""
    if state.status == "starting" and now - state.since >= SETTLED_SECONDS:
        return replace(state, status="running")
    return state


def after_exit(state: WorkerState, code: int, sentence: str | None, now: float, jitter: float) -> WorkerState:
    """Return the state of a worker that ended without being asked to.

    Parameters
    ----------
    code
        Exit code; negative for a signal.
    sentence
        The last thing that it said.
    jitter
        A random number in [0, 1): workers that failed together do not all come back together.
    """
    if code == USER_MISTAKE:
        return replace(state, status="failed", since=now, pid=None, last_error=sentence or "exit code 2")
    if code == 0 and state.spec.role in FINITE_ROLES:
        return replace(state, status="stopped", since=now, pid=None, failures=0, last_error=None)
    failures = 1 if now - state.since >= STEADY_SECONDS else state.failures + 1
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16)) * (0.5 + jitter / 2)
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    said = f"{sentence} ({reason})" if sentence else reason
    return replace(
        state, status="backoff", since=now, pid=None, failures=failures, not_before=now + delay, last_error=said
    )

"""The two kinds of error a user may meet; the CLI and the API turn them into a sentence and a code."""

from __future__ import annotations


class LitError(Exception):
    """Something that is reported as one clear sentence, never as a traceback."""

    exit_code = 1


class UserError(LitError):
    """The user's mistake: the message names the offending value and the fix (exit code 2, HTTP 4xx)."""

    exit_code = 2


class FaultError(LitError):
    """A fault of the machine or of another service: what happened and what to do (exit code 1, HTTP 5xx)."""

"""What an error that ended a command means for its user: the problem and the exit code."""

from __future__ import annotations

from camarchiver.errors import CamarchiverError, StorageError, sentence
from camarchiver.steps import Problem


def failure(error: CamarchiverError | OSError) -> tuple[Problem, int]:
    """The problem as it is told, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    return Problem(StorageError.code, sentence(error)), StorageError.exit_code

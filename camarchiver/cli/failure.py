"""What an error that ended a command means for its user: the problem and the exit code."""

from __future__ import annotations

from camarchiver.domain.steps import Problem
from camarchiver.errors import CamarchiverError, StorageError


def failure(error: CamarchiverError | OSError) -> tuple[Problem, int]:
    """The problem as it is told, and the exit code."""
    if isinstance(error, CamarchiverError):
        return Problem(error.code, error.message, error.hint), error.exit_code
    where = f"{error.filename}: " if error.filename else ""
    return Problem(StorageError.code, f"{where}{error.strerror or error}"), StorageError.exit_code

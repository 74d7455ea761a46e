"""The findings of `doctor` as text."""

from __future__ import annotations

from collections.abc import Iterator

from camarchiver.doctor.findings import Finding, Severity
from camarchiver.runtime.formatting import shown

_AREA = 12
_VERDICT = 5
_MARKS = {Severity.OK: "ok", Severity.NOTE: "note", Severity.BAD: "BAD"}


class Table:
    """Prints findings as they come; `quiet` leaves out everything that is not wrong."""

    def __init__(self, *, quiet: bool) -> None:
        self.wrong = 0
        self._total = 0
        self._quiet = quiet

    def lines(self, finding: Finding) -> Iterator[str]:
        """A line for the finding, and its remedy below it."""
        self._total += 1
        self.wrong += finding.verdict is Severity.BAD
        if self._quiet and finding.verdict is not Severity.BAD:
            return
        duration = f" ({finding.seconds:.1f} s)" if finding.seconds is not None else ""
        yield f"{finding.area:{_AREA}} {_MARKS[finding.verdict]:{_VERDICT}}{shown(finding.message)}{duration}"
        if finding.remedy:
            yield f"{'':{_AREA + _VERDICT + 1}}-> {shown(finding.remedy)}"

    def sum(self) -> str:
        """The last line, with the totals."""
        if self.wrong:
            return f"{self.wrong} of {self._total} are wrong"
        return f"nothing is wrong: {self._total} looked at"

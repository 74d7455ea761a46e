"""The declared frame rates of cameras that write streams without a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class RawRates:
    """Frames per second of raw streams; they give the times of the frames."""

    common: Fraction | None = None
    cameras: Mapping[str, Fraction] = field(default_factory=dict)
    """Those with a rate of their own."""

    def of(self, camera: str) -> Fraction | None:
        """This camera's rate; None if none is declared."""
        return self.cameras.get(camera, self.common)

    def __str__(self) -> str:
        return "none" if self.common is None else str(self.common)


NO_RATES = RawRates()

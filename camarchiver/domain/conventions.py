"""What the owner's config says of the trees: names, folders without clips, clocks, masks. Pure."""

from __future__ import annotations

from msgspec import Struct, field

from camarchiver.domain.clocks import Clocks
from camarchiver.domain.motion import WHOLE_VIEWS, CameraViews
from camarchiver.naming.patterns import Pattern
from camarchiver.naming.system_folders import PassedOver


class Conventions(Struct, frozen=True):
    """How names, folders and times of the trees are to be understood, by every command alike."""

    patterns: tuple[Pattern, ...] = ()
    """Patterns of names besides those of the makers."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    """Folders that hold no clips."""
    clocks: Clocks = field(default_factory=Clocks)
    """Which clock of which camera is right."""
    views: CameraViews = WHOLE_VIEWS
    """Masks and zones of cameras."""
    cameras: frozenset[str] = frozenset()
    """Cameras that have rules of their own in the config."""

"""Types of fields that are read back from disk, with their bounds: msgspec refuses any other value."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from camarchiver.domain.untrusted import LARGEST, LONGEST_PATH
from camarchiver.naming.limits import LONGEST_SECONDS

RelativePath = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH - 1)]
"""Below the root of its tree."""
AnyPath = Annotated[str, Meta(max_length=LONGEST_PATH - 1)]
"""Absolute or relative; it may be empty."""
FileName = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH - 1)]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
Nanoseconds = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
"""Since 1970."""
Process = Annotated[int, Meta(ge=1, le=2**22)]
"""A process id; 2**22 is Linux' highest (proc_sys_kernel(5))."""
Run = Annotated[str, Meta(max_length=200)]
"""The id of a run."""
RemoteName = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH)]
"""Where off-site copies are, as rclone names it: `REMOTE:PATH`."""
TreeName = Literal["source", "archive", "trash"]

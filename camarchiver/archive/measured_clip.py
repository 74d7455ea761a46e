"""A clip that is about to be archived."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from camarchiver.domain.clip import Archived, Clip
from camarchiver.domain.motion import ClipMotion
from camarchiver.media.info import Media


class MeasuredClip(Struct, frozen=True):
    """A clip as it was measured under its lock."""

    clip: Clip
    """The file that is read."""
    source: Clip
    """The same clip with the size and time of its source, if the file is an archive of it."""
    media: Media
    digest: str
    """BLAKE2b of the source."""
    metadata: Mapping[str, str]
    """The container's metadata for the archive."""

    def archived_as(
        self, place: str, size: int, unencoded: str, motion: ClipMotion | None = None
    ) -> Archived:
        """The journal's entry for its archive, which is at `place` below the archive root.

        `unencoded` says why the archive is a lossless copy; it is empty if the clip was encoded.
        """
        source = self.source
        return Archived(
            source=source.relative,
            size=source.fingerprint.size,
            mtime_ns=source.fingerprint.mtime_ns,
            digest=self.digest,
            archive=place,
            archive_size=size,
            remuxed=bool(unencoded),
            duration=round(self.media.span, 3),
            unencoded=unencoded,
            motion=motion,
        )

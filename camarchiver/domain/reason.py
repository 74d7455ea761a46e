"""Why a step is taken or a file is left alone."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a clip is archived, removed or left alone; part of the JSON format."""

    NOT_ARCHIVED = "not-archived"
    ALREADY_ARCHIVED = "already-archived"
    REPEAT_ASKED = "repeat-asked"
    SECOND_GENERATION = "second-generation"
    SOURCE_GONE = "source-gone"
    SAME_FILE = "same-file"
    PERHAPS_ARCHIVED = "perhaps-archived"
    SAME_CONTENT = "same-content"
    TOO_RECENT = "too-recent"
    NOT_SETTLED = "not-settled"
    BEING_WRITTEN = "being-written"
    BUSY = "busy"
    HELD = "held"
    DAMAGED = "damaged"
    FAILED_BEFORE = "failed-before"
    NOT_SMALLER = "not-smaller"
    CLOCK_DOUBTFUL = "clock-doubtful"
    NO_TIMESTAMP = "no-timestamp"
    NOT_A_CLIP = "not-a-clip"
    OTHER_TREE = "other-tree"
    UNSUPPORTED_FORMAT = "unsupported-format"
    NO_FRAME_RATE = "no-frame-rate"
    NO_SPACE = "no-space"
    UNSUPPORTED = "unsupported"
    STALE = "stale"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    FILTERED = "filtered"
    KEPT_SOURCE = "kept-source"
    OVER_LIMIT = "over-limit"
    RESTORED = "restored"
    RESTORE_ASKED = "restore-asked"
    NOT_JOURNALLED = "not-journalled"
    TAKEN = "taken"
    AGE = "age"
    UNARCHIVED = "unarchived"
    ARCHIVE_AGE = "archive-age"
    QUIET_AGE = "quiet-age"
    QUIET_ARCHIVE_AGE = "quiet-archive-age"
    ARCHIVE_AGE_OFFSITE = "archive-age-offsite"
    TRASH_AGE = "trash-age"
    MAX_SIZE = "max-size"
    MIN_FREE = "min-free"
    FREE = "free"
    MAX_AGE_HARD = "max-age-hard"
    LAST_COPY = "last-copy"
    NEWEST = "newest"
    IN_POLICY = "in-policy"
    FOREIGN = "foreign"
    ORPHAN_PICTURE = "orphan-picture"
    PICTURE_ONLY = "picture-only"
    LEFTOVER = "leftover"
    EMPTY_FOLDER = "empty-folder"
    GOAL_MET = "goal-met"
    KEEP_DAYS = "keep-days"
    MAX_STORAGE = "max-storage"
    ANNOUNCED = "announced"
    UNFINISHED = "unfinished"
    SIGNED = "signed"
    PICTURE_CHANGES = "picture-changes"
    UNKEEPABLE_TIMES = "unkeepable-times"
    OTHER_STREAMS = "other-streams"
    INTERLACED = "interlaced"
    REFUSED = "refused"
    REPAIR = "repair"
    UNREPAIRABLE = "unrepairable"
    NOT_COPIED = "not-copied"
    COPY_UNPROVED = "copy-unproved"
    COPY_LOST = "copy-lost"
    ALREADY_COPIED = "already-copied"
    VERIFY_AGAIN = "verify-again"


REASONS: frozenset[str] = frozenset(Reason)
"""To find out whether a text is the value of a reason."""

BY_ARCHIVE = frozenset(
    {
        *(Reason.NOT_ARCHIVED, Reason.ALREADY_ARCHIVED, Reason.REPEAT_ASKED, Reason.SAME_FILE),
        *(Reason.PERHAPS_ARCHIVED, Reason.SAME_CONTENT, Reason.SECOND_GENERATION),
    }
)
"""The reasons for which `archive` handles a clip; they are no rules that remove anything."""

MAY_REMOVE_LAST_COPY = frozenset(
    {
        Reason.UNARCHIVED,
        Reason.ARCHIVE_AGE,
        Reason.QUIET_ARCHIVE_AGE,
        Reason.MAX_SIZE,
        Reason.MIN_FREE,
        Reason.FREE,
        Reason.MAX_AGE_HARD,
        Reason.ORPHAN_PICTURE,
    }
)
"""Rules that may remove a clip's last copy, because the owner asked for that by name.

Once one has removed a clip's archive, other copies of the clip may go as if that archive still existed.
"""

"""Which files are clips, pictures or temporary files, by their suffix: the one table of formats."""

from __future__ import annotations

RAW_SUFFIXES = frozenset({".264", ".h264", ".265", ".h265", ".hevc"})
"""Streams without a container, whose frames have no times."""
TRANSPORT_SUFFIXES = frozenset({".ts", ".m2ts", ".mts", ".m2t"})
CLIP_SUFFIXES = (
    frozenset({".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".flv"})
    | frozenset({".f4v", ".wmv", ".asf", ".dav"})
    | TRANSPORT_SUFFIXES
    | RAW_SUFFIXES
)
OTHER_VIDEO_SUFFIXES = frozenset({
    ".m4s", ".vob", ".ogv", ".ogm", ".mxf", ".divx", ".rm", ".rmvb", ".dv", ".m1v", ".m2v", ".mjpg", ".mjpeg",
    ".bvr", ".g64", ".g64x", ".ave",
})  # fmt: skip
"""Video that is not archived: parts of clips, formats that no camera records, formats that only their maker
reads (Blue Iris, Genetec, Avigilon). They are counted, never passed over in silence."""
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
TEXT_SUFFIXES = frozenset({".srt", ".json", ".xml", ".txt"})
"""Of files that are sidecars only beside a clip of the same stem."""
PLAIN_SUFFIXES = frozenset(suffix for suffix in CLIP_SUFFIXES | PICTURE_SUFFIXES if len(suffix) == 4)
"""The last four characters of most names; any other ending is examined more closely."""

_FOLDER_METADATA = frozenset({"Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store"})
"""By Windows Explorer, Windows Media Center and macOS Finder."""
_TEMPORARY_SUFFIXES = (".part", ".tmp", ".lock", "~")


def is_temporary_name(name: str) -> bool:
    """Whether a file is never a clip: hidden (including rsync's unfinished files), or of a temporary kind."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY_SUFFIXES)


def is_clip_name(name: str) -> bool:
    """Whether a file may be a clip, by its suffix in any case."""
    if name[-4:] in PLAIN_SUFFIXES:
        return name[-4:] in CLIP_SUFFIXES and name[0] != "."
    return _is(name, CLIP_SUFFIXES)


def is_picture_name(name: str) -> bool:
    """Whether a file is a picture, which may be a sidecar, by its suffix in any case."""
    if name[-4:] in PLAIN_SUFFIXES:
        return name[-4:] in PICTURE_SUFFIXES and name[0] != "."
    return _is(name, PICTURE_SUFFIXES)


def is_text_name(name: str) -> bool:
    """Whether a file is a sidecar if a clip of the same stem is beside it, by its suffix in any case."""
    return _is(name, TEXT_SUFFIXES)


def is_sidecar_name(name: str) -> bool:
    """Whether a file may be a sidecar: a picture or a text."""
    return is_picture_name(name) or is_text_name(name)


def is_folder_metadata_name(name: str) -> bool:
    """Whether a file browser made this file in a folder that it showed; it keeps no folder alive."""
    return name in _FOLDER_METADATA


def is_raw_name(name: str) -> bool:
    """Whether a file is a stream without a container, by its suffix in any case."""
    if (ending := name[-4:]) in PLAIN_SUFFIXES:
        return ending in RAW_SUFFIXES and name[0] != "."
    return _is(name, RAW_SUFFIXES)


def is_other_video_name(name: str) -> bool:
    """Whether a file is video of a format that is not archived, by its suffix in any case."""
    return _is(name, OTHER_VIDEO_SUFFIXES)


def suffix_of(name: str) -> str:
    """The suffix with its dot; empty if there is none."""
    dot = name.rfind(".")
    # A longer ending is not a suffix, and would leave no space for the name.
    return name[dot:] if dot > 0 and len(name) - dot <= 8 else ""


def _is(name: str, suffixes: frozenset[str]) -> bool:
    return suffix_of(name).lower() in suffixes and not is_temporary_name(name)

"""What rclone's error messages mean for the owner of a remote. Pure."""

from __future__ import annotations

import re
from enum import StrEnum

from camarchiver.errors import CamarchiverError, ExitCode


class RemoteErrorKind(StrEnum):
    """The kinds of errors at a remote."""

    NO_PROGRAM = "no-rclone"
    NOT_CONFIGURED = "not-configured"
    LOCKED_CONFIG = "locked-config"
    BROKEN_CONFIG = "broken-config"
    PASSWORD = "wrong-password"
    HOST_KEY = "host-key"
    NO_BUCKET = "no-bucket"
    FULL = "full"
    NO_ACCESS = "no-access"
    """Whatever is written there: it is refused, or can't be read afterwards."""
    UNKNOWN_PLACE = "unknown-place"
    """No copy that the journal knows can be read there: another place, or the wrong password of a `crypt`."""
    REFUSED = "refused"
    """The remote forbids it: by object lock, retention or missing rights."""
    BUSY = "busy"
    """Locked for another request: a WebDAV server locks also a folder in which two uploads begin at once."""
    SLOW = "slow"
    GONE = "gone"
    NAME = "name"
    """The remote can't have this name."""
    MISSING = "missing"
    """There is no such object."""
    UNREADABLE = "unreadable"
    """The object is there and could not be read: it is damaged, or the line broke before its first byte."""
    CUT = "cut"
    """Fewer or other bytes arrived than were sent."""
    OTHER = "failed"


SETUP = frozenset(
    {
        RemoteErrorKind.NO_PROGRAM,
        RemoteErrorKind.NOT_CONFIGURED,
        RemoteErrorKind.LOCKED_CONFIG,
        RemoteErrorKind.BROKEN_CONFIG,
        RemoteErrorKind.PASSWORD,
        RemoteErrorKind.HOST_KEY,
        RemoteErrorKind.NO_BUCKET,
        RemoteErrorKind.UNKNOWN_PLACE,
    }
)
"""What only the owner can correct, in the config of rclone or at the provider."""

ENDS_RUN = SETUP | {
    RemoteErrorKind.FULL,
    RemoteErrorKind.NO_ACCESS,
    RemoteErrorKind.GONE,
    RemoteErrorKind.SLOW,
}
"""What keeps every other object from the remote, too."""

CONFIG_FILE = frozenset({RemoteErrorKind.LOCKED_CONFIG, RemoteErrorKind.BROKEN_CONFIG})
"""What ends rclone itself as soon as it looks into its config file."""

PASSING = frozenset(
    {
        RemoteErrorKind.GONE,
        RemoteErrorKind.SLOW,
        RemoteErrorKind.BUSY,
        RemoteErrorKind.CUT,
        RemoteErrorKind.UNREADABLE,
    }
)
"""What a further try may overcome."""

_ENDINGS = (
    # Order matters: the first that is found counts. The texts are those of rclone 1.60 to 1.75, of Go's
    # net and of the servers' protocols, each seen here or in rclone's source.
    (
        RemoteErrorKind.LOCKED_CONFIG,
        r"decrypt config|config(uration)? (file )?is encrypted|RCLONE_CONFIG_PASS",
    ),
    (RemoteErrorKind.BROKEN_CONFIG, r"[Ff]ailed to load config file"),
    (
        RemoteErrorKind.NOT_CONFIGURED,
        r"didn't find section in config|didn't find backend called|unknown type",
    ),
    (RemoteErrorKind.HOST_KEY, r"knownhosts:|host key|known_hosts"),
    (
        RemoteErrorKind.PASSWORD,
        r"unable to authenticate|\b401\b|Unauthorized|InvalidAccessKeyId|SignatureDoesNotMatch|invalid_grant"
        r"|bad_auth_token|expired_auth_token|ssh-agent|HeadObject.*StatusCode: 403"
        r"|InvalidToken|permission denied \(publickey|unexpected message type 51",
    ),
    (
        RemoteErrorKind.NO_BUCKET,
        r"NoSuchBucket|bucket (does not|doesn't) exist|bucket not found|no such bucket",
    ),
    (
        RemoteErrorKind.FULL,
        r"no space left|\b507\b|Insufficient ?Storage|quota|StorageCap|cap exceeded|disk full|volume full"
        r"|InsufficientCapacity|XMinioStorageFull",
    ),
    (RemoteErrorKind.BUSY, r"\b423 Locked|Locked: 423"),
    (
        RemoteErrorKind.REFUSED,
        r"AccessDenied|Access Denied|\b403\b|Forbidden|object ?lock|WORM|retention|governance|legal hold"
        r"|[Pp]ermission denied|Method Not Allowed|read-only|\bEPERM\b|operation not permitted",
    ),
    (
        RemoteErrorKind.NAME,
        r"name too long|ENAMETOOLONG|KeyTooLong|invalid (file ?)?name|illegal (file ?)?name",
    ),
    (
        RemoteErrorKind.SLOW,
        r"i/o timeout|deadline exceeded|[Tt]imed? ?out|Timeout|SlowDown|\b429\b|Too Many Requests",
    ),
    (
        RemoteErrorKind.GONE,
        r"connection refused|no such host|no route to host|unreachable|connection reset|broken pipe|\bEOF\b"
        r"|connection lost|closed network connection|server misbehaving|StatusCode: 5\d\d|\b50[0234]\b"
        r"|connection error|couldn't connect",
    ),
    (
        RemoteErrorKind.CUT,
        r"corrupted on transfer|sizes differ|hash(es)? differ|[Bb]ad ?Digest|\b460\b|checksum",
    ),
    (RemoteErrorKind.MISSING, r"not found|NoSuchKey|\b404\b|no such file|doesn't exist|does not exist"),
)
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _ENDINGS)

_WORDS = {
    RemoteErrorKind.NO_PROGRAM: "rclone is not installed",
    RemoteErrorKind.NOT_CONFIGURED: "rclone has no such remote",
    RemoteErrorKind.LOCKED_CONFIG: "rclone's config file is encrypted, and its password is unknown or wrong",
    RemoteErrorKind.BROKEN_CONFIG: "rclone can't read its config file",
    RemoteErrorKind.PASSWORD: "the remote does not accept the login",
    RemoteErrorKind.HOST_KEY: "the server's host key is not the known one",
    RemoteErrorKind.NO_BUCKET: "the bucket or folder does not exist",
    RemoteErrorKind.FULL: "the remote is full",
    RemoteErrorKind.NO_ACCESS: "nothing can be written there and read again",
    RemoteErrorKind.UNKNOWN_PLACE: "no copy that the journal knows can be read there",
    RemoteErrorKind.REFUSED: "the remote refuses it",
    RemoteErrorKind.BUSY: "the remote has locked it for another request",
    RemoteErrorKind.SLOW: "the remote does not answer in time",
    RemoteErrorKind.GONE: "the remote can't be reached",
    RemoteErrorKind.NAME: "the remote can't have this name",
    RemoteErrorKind.MISSING: "it is not there",
    RemoteErrorKind.CUT: "other bytes arrived than were sent",
    RemoteErrorKind.OTHER: "rclone failed",
}

_HINTS = {
    RemoteErrorKind.NOT_CONFIGURED: "rclone listremotes shows those that there are; rclone config makes one",
    RemoteErrorKind.LOCKED_CONFIG: "set RCLONE_CONFIG_PASS, or RCLONE_PASSWORD_COMMAND, for this user",
    RemoteErrorKind.BROKEN_CONFIG: "correct the file, or let this user read it; "
    "rclone listremotes shows whether it works",
    RemoteErrorKind.PASSWORD: "correct user, password or key with rclone config; "
    "rclone lsd shows whether it works",
    RemoteErrorKind.HOST_KEY: "compare the key with the server's own, then add it to known_hosts: "
    "ssh-keyscan -p PORT HOST >> ~/.ssh/known_hosts",
    RemoteErrorKind.NO_BUCKET: "make it at the provider, or correct the name in [offsite] remote",
    RemoteErrorKind.FULL: "free space there, or raise the quota; what is copied stays",
    RemoteErrorKind.NO_ACCESS: "give this login the right to write and read there, "
    "or mount the disk for writing; the next run tries again",
    RemoteErrorKind.UNKNOWN_PLACE: "correct [offsite] remote, or the password of its crypt in rclone's "
    "config; if the copies are gone for good, name a new path: all archives are copied there",
    RemoteErrorKind.REFUSED: "object lock, retention or the rights of this login forbid it",
    RemoteErrorKind.BUSY: "the next run tries again; if it stays, "
    "look who else has the file or folder open there",
    RemoteErrorKind.SLOW: "try again later, or lower [offsite] bandwidth",
    RemoteErrorKind.GONE: "check the network and the server; the next run goes on from here",
    RemoteErrorKind.NAME: "shorten the camera's folder and file names, or use another remote",
    RemoteErrorKind.CUT: "the next run tries again; if it happens often, check network and memory",
}


class RemoteError(CamarchiverError):
    """Something failed at the remote, or rclone did."""

    code = "offsite"

    def __init__(self, kind: RemoteErrorKind, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or _HINTS.get(kind, ""))
        self.kind = kind
        self.exit_code = exit_code(kind)


def exit_code(kind: RemoteErrorKind) -> ExitCode:
    """The exit code of a run that ended by this."""
    if kind in SETUP:
        return ExitCode.CONFIG
    return ExitCode.STORAGE if kind in ENDS_RUN else ExitCode.FAILED


def kind_of(message: str, *, status: int = 0) -> RemoteErrorKind:
    """What a message of rclone is about; `status` is the HTTP status of rclone's own answer."""
    found = next((kind for kind, pattern in _PATTERNS if pattern.search(message)), None)
    if found is not None:
        return found
    return RemoteErrorKind.MISSING if status == 404 else RemoteErrorKind.OTHER


def remote_error(remote: str, message: str, *, status: int = 0) -> RemoteError:
    """The error for a message of rclone about a remote."""
    return error_of(kind_of(message, status=status), remote, message)


def error_of(kind: RemoteErrorKind, remote: str, message: str) -> RemoteError:
    """The error of this kind at a remote, with the message that shows it."""
    return RemoteError(kind, f"{remote}: {_WORDS[kind]}: {_shortened(message)}")


def _shortened(message: str) -> str:
    """The message on one line; servers answer with whole pages."""
    line = " ".join(message.split())
    return line if len(line) <= 300 else line[:299] + "…"

"""What rclone's config says of a remote: the backends behind it, and what they can prove. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.errors import ConfigError

Settings = Mapping[str, Mapping[str, str]]
"""rclone's config file: the settings of each remote by its name."""

_SECRETS = re.compile(
    r"pass|secret|token|key_pem|private|_keys?\b|^key$|key_base64|sas_url|(?<!env_)auth|bearer|mnemonic|cookies"
    r"|(account|config)_credentials|access_grant|connection_string|session_id|^headers$",
    re.IGNORECASE,
)
"""Names of settings that hold one: those that `rclone config providers` calls sensitive, but for names."""
_LOGIN = re.compile(r"://[^/\s]*@")
_VALUE = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|(?!["'])[^,:]*)"""
_CONNECTION = re.compile(rf"(?P<name>:?[\w .+@-]+)(?P<options>(,\w+(={_VALUE})?)*):(?P<path>.*)", re.DOTALL)
_DEPTH = 10
"""Backends on top of each other."""

_PASSED_ON = frozenset({"alias"})
"""Backends that hand everything to the one below, the hashes too."""

ONE_PART = 200 << 20
"""Bytes up to which an object is uploaded in one request to S3 and B2, so that the server makes its hash.

Of larger objects S3 has a hash of the parts' hashes, and rclone's MD5 is what the uploader said.
"""

_OWN_HASHES = {
    "local": ("sha256", "md5"),
    "sftp": ("sha256", "sha1", "md5"),
    "s3": ("md5",),
    "b2": ("sha1",),
    "google cloud storage": ("md5",),
    "drive": ("md5",),
    "pcloud": ("sha256", "sha1", "md5"),
}
"""Backends whose server makes a hash of the whole object from the bytes that it stored, best first.

WebDAV servers (Nextcloud, ownCloud), Azure, chunker and hasher give back what the uploader said, and `crypt`
has none: these are read back.
"""

_IN_PARTS = frozenset({"s3", "b2"})


class RemoteBackend(Struct, frozen=True):
    """One of the backends behind a remote."""

    name: str
    """In rclone's config; empty for one that the remote itself describes."""
    kind: str
    """Its type, such as `s3`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    """Of a local one: the folder of this machine, as it is configured."""
    is_exact: bool = True
    """Whether objects lie right below `folder`; otherwise in a folder there whose name is encrypted."""


def check(remote: str) -> None:
    """Refuse a remote that holds a secret or leads nowhere. Raises ConfigError."""
    if not remote:
        raise ConfigError(
            "there is no remote for off-site copies",
            hint='write [offsite] remote = "NAME:PATH" into the config file; `offsite` also takes --remote',
        )
    found = _CONNECTION.fullmatch(remote)
    if found is None and not remote.startswith("/"):
        # what is misspelt may hold a secret, too
        named = "the remote of off-site copies" if re.search("[=@]", remote) else remote
        raise ConfigError(
            f"{named} is not a remote",
            hint="write it as rclone does: NAME:PATH with a name of rclone listremotes, or an absolute path",
        )
    keys = [key for key in _options(found["options"]) if _SECRETS.search(key)] if found else []
    if _LOGIN.search(remote):
        keys.append("a login")
    if keys:
        raise ConfigError(
            f"the remote of off-site copies has {keys[0]} in its name, where everybody can read it",
            hint="put it into rclone's config file with rclone config, and name that remote",
        )


def label(remote: str) -> str:
    """The remote as the journal names it: without a slash at its end."""
    return remote.rstrip("/") or "/"


def backends(remote: str, config: Settings, environment: Mapping[str, str]) -> tuple[RemoteBackend, ...]:
    """The backends that a remote leads to, the outermost first; `environment` may set what `config` does."""
    return tuple(_backends(remote, _Inner(), config, environment, _DEPTH))


def unknown_name(remote: str, config: Settings, environment: Mapping[str, str]) -> str | None:
    """The name of a remote that neither `config` nor `environment` describes; None if there is none."""
    found = _CONNECTION.fullmatch(remote)
    if found is None or remote.startswith(("/", ":")):
        return None
    name = found["name"]
    is_known = name in config or _set_by(environment, f"RCLONE_CONFIG_{name}_")
    return None if is_known else name


def variable(backend: RemoteBackend, key: str) -> str:
    """The environment variable by which rclone takes a setting of a backend."""
    start = f"RCLONE_CONFIG_{backend.name}" if backend.name else f"RCLONE_{backend.kind}"
    return f"{start}_{key}".upper().replace("-", "_")


def own_hashes(found: tuple[RemoteBackend, ...]) -> tuple[str, ...]:
    """Hashes that prove a whole object at this remote, the best first; empty if it must be read back."""
    below = [each for each in found if each.kind not in _PASSED_ON]
    return _OWN_HASHES.get(below[0].kind, ()) if len(below) == 1 else ()


def is_in_parts(found: tuple[RemoteBackend, ...], size: int) -> bool:
    """Whether an object of `size` bytes may have been uploaded in parts, so that its hash proves nothing."""
    return size > ONE_PART and any(each.kind in _IN_PARTS for each in found)


def hides_deleted(found: tuple[RemoteBackend, ...]) -> bool:
    """Whether rclone only hides what it deletes, as an old version: B2 without `hard_delete`."""
    return any(
        each.kind == "b2" and each.settings.get("hard_delete", "").lower() not in ("true", "1")
        for each in found[-1:]
    )


def unchecked_hosts(found: tuple[RemoteBackend, ...]) -> tuple[RemoteBackend, ...]:
    """SFTP backends whose settings have no host key to compare the server's with."""
    return tuple(
        each
        for each in found
        if each.kind == "sftp"
        and not each.settings.get("ssh")
        and each.settings.get("known_hosts_file", "").lower() in ("", "none")
        and not each.settings.get("pin_host_key")
    )


class _Inner(NamedTuple):
    """The path below a remote that the one above it uses."""

    path: str = ""
    is_exact: bool = True
    """False if it goes on with encrypted names."""

    def below(self, folder: str) -> _Inner:
        """The same, seen from above this folder."""
        joined = f"{folder.rstrip('/')}/{self.path}" if folder and self.path else folder or self.path
        return self._replace(path=joined)


def _backends(
    remote: str, inner: _Inner, config: Settings, environment: Mapping[str, str], depth: int
) -> Iterator[RemoteBackend]:
    if not depth:
        return
    found = None if remote.startswith("/") else _CONNECTION.fullmatch(remote)
    if found is None:
        yield _local_backend(RemoteBackend("", "local"), inner.below(remote))
        return
    name, own = found["name"], _options(found["options"])
    is_named = not name.startswith(":")
    values = dict(config.get(name, {})) if is_named else {"type": name[1:]}
    values |= _set_by(environment, f"RCLONE_CONFIG_{name}_") if is_named else {}
    kind = values.get("type", "")
    settings = {**values, **_set_by(environment, f"RCLONE_{kind}_"), **own}
    backend, path = RemoteBackend(name if is_named else "", kind, settings), inner.below(found["path"])
    if kind == "local":
        yield _local_backend(backend, path)
        return
    yield backend
    for below, path_below in _below(backend, path):
        yield from _backends(below, path_below, config, environment, depth - 1)


def _local_backend(backend: RemoteBackend, path: _Inner) -> RemoteBackend:
    return replace(backend, folder=path.path or ".", is_exact=path.is_exact)


def _below(backend: RemoteBackend, path: _Inner) -> Iterator[tuple[str, _Inner]]:
    """The remotes to which a backend hands on, each with the path that it uses there."""
    match backend.kind:
        case "union":
            for each in _listed(backend.settings.get("upstreams", "")):
                yield re.sub(r":(ro|nc|writeback)$", "", each), path
        case "combine":
            # `upstreams = folder=remote:path other=remote:path`
            first, _, rest = path.path.partition("/")
            for each in _listed(backend.settings.get("upstreams", "")):
                folder, _, upstream = each.partition("=")
                if first in ("", folder):
                    yield upstream, path._replace(path=rest)
        case "crypt" if path.path and not _keeps_names(backend):
            yield backend.settings.get("remote", ""), _Inner(is_exact=False)
        case _:
            if below := backend.settings.get("remote"):
                yield below, path


def _keeps_names(crypt: RemoteBackend) -> bool:
    """Whether folders below an encrypted remote have the same names as in it."""
    settings = crypt.settings
    return (
        settings.get("filename_encryption") == "off" or settings.get("directory_name_encryption") == "false"
    )


def _listed(text: str) -> list[str]:
    """The parts of a list as rclone writes it: separated by spaces, those with a space in quotes."""
    return [each for row in csv.reader([text], delimiter=" ") for each in row if each]


def _set_by(environment: Mapping[str, str], start: str) -> dict[str, str]:
    """Settings that variables with this beginning hold."""
    start = start.upper().replace("-", "_")
    return {
        name.removeprefix(start).lower(): value
        for name, value in environment.items()
        if name.startswith(start)
    }


def _options(text: str) -> dict[str, str]:
    """The settings of a connection string, `,key=value,key="value"`."""
    return {key: _unquoted(value) for key, value in re.findall(rf",(\w+)(?:=({_VALUE}))?", text)}


def _unquoted(value: str) -> str:
    """A value without the quotes around it, in which the same quote is written twice."""
    quote = value[:1]
    return value[1:-1].replace(quote * 2, quote) if quote in ("'", '"') else value

"""What rclone's config says of a remote: the backends behind it, and what they can prove. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from camarchiver.errors import ConfigError

Settings = Mapping[str, Mapping[str, str]]
"""rclone's config file: the settings of each remote by its name."""

_SECRETS = re.compile(r"pass|secret|token|key_pem|private|_key\b|^key$|sas_url|auth|bearer", re.IGNORECASE)
_CONNECTION = re.compile(
    r'(?P<name>:?[\w .+@-]+)(?P<options>(,\w+(=("([^"]|"")*"|[^",:]*))?)*):(?P<path>.*)', re.DOTALL
)
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


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """One of the backends behind a remote."""

    name: str
    """In rclone's config; empty for one that the remote itself describes."""
    kind: str
    """Its type, such as `s3`."""
    settings: Mapping[str, str] = field(default_factory=dict)


def check(remote: str) -> None:
    """Refuse a remote that holds a secret or leads nowhere. Raises ConfigError."""
    if not remote:
        raise ConfigError(
            "there is no remote for off-site copies",
            hint='write [offsite] remote = "NAME:PATH" into the config file; `offsite` also takes --remote',
        )
    found = _CONNECTION.fullmatch(remote)
    if found is None and not remote.startswith("/"):
        raise ConfigError(
            f"{remote} is not a remote",
            hint="write it as rclone does: NAME:PATH with a name of rclone listremotes, or an absolute path",
        )
    for key in _options(found["options"]) if found else ():
        if _SECRETS.search(key):
            raise ConfigError(
                f"the remote of off-site copies has {key} in its name, where everybody can read it",
                hint="put it into rclone's config file with rclone config, and name that remote",
            )


def label(remote: str) -> str:
    """The remote as the journal names it: without a slash at its end."""
    return remote.rstrip("/") or "/"


def backends(remote: str, config: Settings, environment: Mapping[str, str]) -> tuple[RemoteBackend, ...]:
    """The backends that a remote leads to, the outermost first; `environment` may set what `config` does."""
    return tuple(_backends(remote, config, environment, _DEPTH))


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


def _backends(
    remote: str, config: Settings, environment: Mapping[str, str], depth: int
) -> Iterator[RemoteBackend]:
    found = _CONNECTION.fullmatch(remote) if depth else None
    if found is None or remote.startswith("/"):
        yield RemoteBackend("", "local")
        return
    name, own = found["name"], _options(found["options"])
    is_named = not name.startswith(":")
    values = dict(config.get(name, {})) if is_named else {"type": name[1:]}
    values |= _set_by(environment, f"RCLONE_CONFIG_{name}_") if is_named else {}
    kind = values.get("type", "")
    backend = RemoteBackend(
        name if is_named else "", kind, {**values, **_set_by(environment, f"RCLONE_{kind}_"), **own}
    )
    yield backend
    for below in _below(backend):
        yield from _backends(below, config, environment, depth - 1)


def _below(backend: RemoteBackend) -> Iterator[str]:
    """The remotes to which a backend hands on."""
    if backend.kind in ("union", "combine"):
        # `upstreams = remote:path other:path`; those of combine begin with `folder=`.
        for each in backend.settings.get("upstreams", "").split():
            yield each.strip('"').partition("=")[2] if backend.kind == "combine" else each.strip('"')
    elif below := backend.settings.get("remote"):
        yield below


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
    found = re.findall(r',(\w+)(?:=("(?:[^"]|"")*"|[^",:]*))?', text)
    return {key: value.strip('"').replace('""', '"') for key, value in found}

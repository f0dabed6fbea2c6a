# SPDX-License-Identifier: GPL-2.0-only
"""Fetch Debian packages of any suite without touching the host's own apt.

The mirrors are the ones that the host's apt sources already name, so that a proxy or a local mirror
is used here too; PAGE_ALLOC_BENCH_MIRROR and PAGE_ALLOC_BENCH_SECURITY_MIRROR override them. Lists
and caches live in a private directory; nothing is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench.targets.process import CommandError, TargetError, need, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Debian's names of architectures, by what uname -m says.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Seconds after which apt has no chance any more: a full disk can hold it for ever.
_SHOW_S, _UPDATE_S, _DOWNLOAD_S = 120, 900, 3600
_CODENAMES = ("bullseye", "bookworm", "trixie", "forky", "sid")
_ALIASES = ("oldoldstable", "oldstable", "stable", "testing", "unstable")


@dataclass(frozen=True)
class Mirrors:
    """Addresses of a Debian archive and of its security archive, as apt writes them."""

    main: str
    security: str

    def of(self, suite: str) -> str:
        """Return the mirror that carries SUITE."""
        return self.security if suite.endswith("-security") else self.main


@dataclass(frozen=True)
class Source:
    """One entry of the host's apt sources: every URI carries every suite."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]


def parse_one_line(text: str) -> list[Source]:
    """Read the ``deb [options] uri suite component…`` format of sources.list."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line.strip())
        if match:
            found.append(Source((match[1],), (match[2],)))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Read the paragraphs of a ``.sources`` file; disabled ones and ``deb-src`` are left out."""
    found = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = _fields(paragraph)
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off")
        if enabled and "deb" in fields.get("types", "").split():
            uris = tuple(fields.get("uris", "").split())
            found.append(Source(uris, tuple(fields.get("suites", "").split())))
    return found


def _fields(paragraph: str) -> dict[str, str]:
    """Return the fields of one deb822 paragraph, names in lower case, continuations joined."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def host_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Return all entries of the apt sources under ETC."""
    found = []
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        if path.is_file():
            found += parse_one_line(path.read_text(errors="replace"))
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        found += parse_deb822(path.read_text(errors="replace"))
    return found


def find_mirrors(sources: Iterable[Source] | None = None) -> Mirrors:
    """Return the mirrors of the environment, or else those of SOURCES (default: the host's).

    Raises TargetError when neither names a Debian archive.
    """
    entries = list(host_sources() if sources is None else sources)
    main = os.environ.get("PAGE_ALLOC_BENCH_MIRROR") or _first(entries, "")
    security = os.environ.get("PAGE_ALLOC_BENCH_SECURITY_MIRROR") or _first(entries, "-security")
    for address, what, variable in (
        (main, "a Debian mirror", "PAGE_ALLOC_BENCH_MIRROR"),
        (security, "a Debian security mirror", "PAGE_ALLOC_BENCH_SECURITY_MIRROR"),
    ):
        if not address:
            raise TargetError(
                f"this host's apt sources have no address of {what}: set {variable} to one"
            )
    return Mirrors(main, security)


def _first(sources: Iterable[Source], suffix: str) -> str:
    """Return the first address with a suite of Debian's that ends in SUFFIX; "" if there is none.

    Third-party archives have suites of their own names and are passed over.
    """
    wanted = {name + suffix for name in (*_CODENAMES, *_ALIASES)}
    for source in sources:
        if wanted.intersection(suite.rstrip("/") for suite in source.suites):
            for uri in source.uris:
                if not uri.startswith("cdrom:"):
                    return uri.rstrip("/")
    return ""


def source_lines(suites: Iterable[str], mirrors: Mirrors) -> list[str]:
    """Return the sources.list lines of SUITES, trusted through the host's Debian keyring only."""
    if not KEYRING.is_file():
        raise TargetError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    return [f"deb [signed-by={KEYRING}] {mirrors.of(suite)} {suite} main" for suite in suites]


class PrivateApt:
    """An apt of its own in DIRECTORY that knows SUITES for ARCH and considers nothing installed."""

    def __init__(self, directory: Path, suites: Iterable[str], arch: str):
        self.directory = directory
        self.suites = tuple(suites)
        for sub in ("state/lists/partial", "cache/archives/partial", "debs"):
            (directory / sub).mkdir(parents=True, exist_ok=True)
        (directory / "state/status").touch()
        (directory / "preferences").touch()
        lines = source_lines(self.suites, find_mirrors())
        (directory / "sources.list").write_text("\n".join(lines) + "\n")
        settings = {
            "Dir::State": f"{directory}/state",
            "Dir::State::status": f"{directory}/state/status",
            "Dir::Cache": f"{directory}/cache",
            "Dir::Etc::SourceList": f"{directory}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": f"{directory}/preferences",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": arch,
            "APT::Architectures": arch,
            "APT::Update::Error-Mode": "any",
            # The files are this user's own: apt's _apt user could not read them.
            "APT::Sandbox::User": "root",
            # Suites that are kept for old kernels have release files past their date.
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
        }
        # Read after the host's own configuration (-c), which may set a proxy worth having.
        self._config = directory / "apt.conf"
        self._config.write_text("".join(f'{key} "{value}";\n' for key, value in settings.items()))

    def update(self) -> None:
        """Fetch the package lists; a list that cannot be fetched is an error, not a warning."""
        try:
            self._apt("apt-get", "update", "-qq", timeout=_UPDATE_S)
        except CommandError as error:
            raise TargetError(
                f"cannot fetch the package lists of {', '.join(self.suites)}: check the network "
                "and the mirrors of this host's apt sources, or set PAGE_ALLOC_BENCH_MIRROR and "
                f"PAGE_ALLOC_BENCH_SECURITY_MIRROR\n{error}"
            ) from error

    def depends(self, package: str) -> list[str]:
        """Return the names that the newest PACKAGE depends on, the first of each alternative."""
        try:
            text = self._apt("apt-cache", "show", "--no-all-versions", package)
        except CommandError as error:
            raise TargetError(
                f"{', '.join(self.suites)} has no package {package}: the mirror may have dropped "
                f"it, or PAGE_ALLOC_BENCH_MIRROR names one without this suite\n{error}"
            ) from error
        depends = _fields(text.split("\n\n")[0]).get("depends", "")
        names = (alternatives.split("|")[0].split() for alternatives in depends.split(","))
        return [words[0].split(":")[0] for words in names if words]

    def extract(self, packages: Iterable[str], destination: Path) -> None:
        """Download PACKAGES and unpack their files under DESTINATION."""
        debs = self.directory / "debs"
        try:
            self._apt("apt-get", "download", "-qq", *packages, cwd=debs, timeout=_DOWNLOAD_S)
        except CommandError as error:
            raise TargetError(
                f"cannot download {' '.join(packages)}: try again (a mirror in the middle of an "
                f"update lacks files), check the network and the space in {debs}\n{error}"
            ) from error
        for deb in sorted(debs.glob("*.deb")):
            run([need("dpkg-deb", "dpkg"), "-x", str(deb), str(destination)])

    def _apt(
        self, tool: str, *arguments: str, cwd: Path | None = None, timeout: float = _SHOW_S
    ) -> str:
        argv = [need(tool, "apt"), f"--config-file={self._config}", *arguments]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        return run(argv, cwd=cwd, env=environment, timeout=timeout).stdout

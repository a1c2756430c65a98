"""The command `certificates`: which of the files that services use has ended, or soon will."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from panicdoor.commands.fields import fields
from panicdoor.commands.registry import Context, Level, Where, command
from panicdoor.commands.table import (
    Column,
    Json,
    document,
    duration,
    findings,
    left_out,
    lines_as_parts,
    table,
)
from panicdoor.kernel import reading, x509
from panicdoor.kernel.x509 import Certificate, CertificateError

# Where distributions and services keep what they present to others. Stores of certificates that
# are trusted, and are nobody's own, are told apart by how many stand in one file.
PLACES: Final = (
    "/etc/letsencrypt/live", "/etc/ssl", "/etc/pki/tls", "/etc/pki/nginx", "/etc/nginx",
    "/etc/apache2", "/etc/httpd", "/etc/haproxy", "/etc/caddy", "/etc/lighttpd", "/etc/traefik",
    "/etc/postfix", "/etc/dovecot", "/etc/exim4", "/etc/openldap", "/etc/ldap", "/etc/sssd",
    "/etc/kubernetes", "/etc/etcd", "/etc/docker", "/etc/rancher", "/etc/consul.d", "/etc/vault.d",
    "/etc/nomad.d", "/etc/openvpn", "/etc/ipsec.d", "/etc/swanctl", "/etc/strongswan",
    "/etc/cockpit/ws-certs.d", "/etc/postgresql", "/etc/mysql", "/etc/redis", "/etc/mosquitto",
    "/etc/rabbitmq", "/etc/elasticsearch", "/etc/grafana", "/etc/prometheus", "/etc/puppetlabs",
)  # fmt: skip
ENDINGS: Final = (".pem", ".crt", ".cer", ".cert", ".der", ".bundle")
DEPTH_MAX: Final = 4  # folders below a place
ENTRIES_MAX: Final = 20_000  # names of files that are looked at
FILES_MAX: Final = 500  # files that are read
FILE_BYTES: Final = 128 << 10  # bytes of a file that are read: a chain with its key has some 20 KiB
CHAIN_MAX: Final = 10  # certificates of one file; where there are more, it is a store of trust
SHOWN_MAX: Final = 100  # certificates that are shown, the next to end first
NAMED_MAX: Final = 10  # findings that have a sentence of their own
SOON_DAYS: Final = 14  # ACME clients renew a month before the end, so by then that has failed

_TRUST: Final = ("/usr/share/ca-certificates/", "/usr/local/share/ca-certificates/")
_DER: Final = b"\x30"  # what DER begins with, and PEM does not
_DAY_S: Final = 86400
_OWN: Final = "this door's own"  # what stands in place of a file


class Dated(NamedTuple):
    """A certificate and the first file it was found in; "" for this door's own."""

    certificate: Certificate
    file: str

    @property
    def where(self) -> str:
        """Where it is, for people."""
        return self.file or _OWN

    @property
    def name(self) -> str:
        """Whose it is: its first name, and how many more it has."""
        names = self.certificate.names
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        return f"{names[0]}{more}" if names else "(no name)"


@dataclass(slots=True)
class Report:
    """What was found, the next to end first. `stores` are files of trusted certificates."""

    now: datetime
    found: list[Dated] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    files: int = 0
    stores: int = 0
    cut: bool = False

    def days(self, one: Dated) -> float:
        """Return how many days are left; less than 0: it has ended."""
        return (one.certificate.ends - self.now).total_seconds() / _DAY_S


def look(own: bytes = b"", places: tuple[str, ...] = PLACES) -> Iterator[str | Report]:
    """Yield each place before it is looked into, as a disk may not answer, and then the report.

    `own` is what this door shows, in DER: nobody but those who speak TLS for it has its file.
    """
    report = Report(datetime.fromtimestamp(time.time(), UTC))
    seen: dict[bytes, Dated] = {}
    if own:
        _add(report, seen, [own], "")
    walk = _Walk()
    for place in places:
        if walk.full or report.files >= FILES_MAX:
            report.cut = True
            break
        yield place
        for path in walk.files(place, DEPTH_MAX):
            if report.files >= FILES_MAX:
                break
            _read(report, seen, path)
    report.cut = report.cut or walk.full or report.files >= FILES_MAX
    report.found = sorted(seen.values(), key=lambda one: (one.certificate.ends, one.file))
    yield report


class _Walk:
    """The files below a folder whose names look like certificates, ended where there are many."""

    def __init__(self) -> None:
        self._entries = 0

    @property
    def full(self) -> bool:
        return self._entries >= ENTRIES_MAX

    def files(self, folder: str, depth: int) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                names = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in self._counted(entries)
                )
        except OSError:
            return
        for name, is_folder in names:
            path = f"{folder}/{name}"
            if is_folder and depth:
                yield from self.files(path, depth - 1)
            elif not is_folder and name.endswith(ENDINGS):
                yield path

    def _counted(self, entries: Iterator["os.DirEntry[str]"]) -> Iterator["os.DirEntry[str]"]:
        for entry in entries:
            if self.full:
                return
            self._entries += 1
            yield entry


def _read(report: Report, seen: dict[bytes, Dated], path: str) -> None:
    """Add the certificates of one file; what is no file, or nothing of the kind, adds nothing."""
    try:
        if _is_trusted(path) or not stat.S_ISREG(os.stat(path).st_mode):
            return
        data = reading.read(path, FILE_BYTES)
    except OSError:
        return
    report.files += 1
    try:
        blocks = [data] if data.startswith(_DER) else list(x509.pem_blocks(data))
        if len(blocks) > CHAIN_MAX:
            report.stores += 1
            return
    except CertificateError as error:
        report.broken.append(f"{reading.bytewise(path)}: {error}")
        return
    _add(report, seen, blocks, reading.bytewise(path))


def _add(report: Report, seen: dict[bytes, Dated], blocks: list[bytes], path: str) -> None:
    try:
        for block in blocks:
            if block not in seen:
                seen[block] = Dated(x509.parse(block), path)
    except CertificateError as error:
        report.broken.append(f"{path or _OWN}: {error}")


def _is_trusted(path: str) -> bool:
    """Return whether a file is a link into a store of trust: most of /etc/ssl/certs is."""
    try:
        target = os.readlink(path)
    except OSError:
        return False
    return target.startswith(_TRUST) or os.path.realpath(path).startswith(_TRUST)


def wrong(report: Report) -> Iterator[str]:
    """Yield what is not normal, worst first."""
    ending = [one for one in report.found if report.days(one) < SOON_DAYS]
    for one in ending[:NAMED_MAX]:
        yield f"{one.name} {_when(report.days(one))} ({one.where})"
    if len(ending) > NAMED_MAX:
        yield f"{len(ending) - NAMED_MAX} more have ended or end within {SOON_DAYS} days"
    early = [one for one in report.found if one.certificate.begins > report.now]
    for one in early[:NAMED_MAX]:
        yield f"{one.name} is not valid yet ({one.where}); is this host's clock right?"


def _when(days: float) -> str:
    """Return "ended 3 d ago", "ends in 12 d"."""
    return f"{'ended' if days < 0 else 'ends in'} {duration(abs(days) * _DAY_S)}" + (
        " ago" if days < 0 else ""
    )


_FIELDS: Final = fields(
    """
    .findings[] text: what is not normal, worst first
    .now date: this host's clock
    .certificates[].ends date: until when it is valid
    .certificates[].begins date: from when on
    .certificates[].days number: days that are left, less than 0 where it has ended
    .certificates[].names[] text: whom it is for
    .certificates[].file text?: the first file it was found in; null for this door's own
    .broken[] text: a file that could not be understood, and why
    .files int: how many were read
    .stores int: how many of them hold certificates that are trusted
    .left_out int: certificates that are not shown
    .cut bool: whether there were too many files to look at all
    """
)


@command(level=Level.OBSERVE, where=Where.WORKER, fields=_FIELDS)
def certificates(context: Context, *, json: bool = False) -> Iterator[str]:
    """Show which certificates end soon.

    This door's own is among them. The others are read from files, in the folders of /etc where web
    servers, mail servers, Kubernetes and others keep what they present: a service may still present
    an older one, until it reloads. Each folder is named before it is read, as a disk may not
    answer. Stores of trusted certificates are counted and left out. Nothing is verified: this is a
    calendar, by this host's clock, which may be wrong. Normal: more than 14 days left.

    Arguments:
        json: print one JSON object, with up to 100 certificates

    Examples:
        > certificates
        reading...
        ...
    """
    if not json:
        yield "reading"
    for step in look(context.manual.certificate):
        if isinstance(step, Report):
            yield from document(_document(step)) if json else lines_as_parts(_lines(step))
        elif not json and os.path.isdir(step):
            yield f" {step}"


def _lines(report: Report) -> Iterator[str]:
    yield "\n"
    yield from findings(wrong(report), f"No certificate ends within {SOON_DAYS} days.")
    yield from table(
        [
            Column("ENDS (UTC)"),
            Column("LEFT", right=True),
            Column("NAME", least=16),
            Column("FILE", least=20),
        ],
        (
            (
                one.certificate.ends.strftime("%Y-%m-%d"),
                "ENDED" if report.days(one) < 0 else duration(report.days(one) * _DAY_S),
                one.name,
                one.where,
            )
            for one in report.found[:SHOWN_MAX]
        ),
    )
    yield from left_out(len(report.found) - SHOWN_MAX, "certificates")
    yield f"({report.files} files read, {report.stores} of them stores of trusted certificates)\n"
    if report.broken:
        yield f"({len(report.broken)} files could not be understood: certificates --json)\n"
    if report.cut:
        yield "(too many files: not all were looked at)\n"


def _document(report: Report) -> Json:
    shown = report.found[:SHOWN_MAX]
    return {
        "findings": list(wrong(report)),
        "now": report.now.isoformat(timespec="seconds"),
        "certificates": [
            {
                "ends": one.certificate.ends.isoformat(),
                "begins": one.certificate.begins.isoformat(),
                "days": round(report.days(one), 1),
                "names": list(one.certificate.names),
                "file": one.file or None,
            }
            for one in shown
        ],
        "broken": report.broken[:SHOWN_MAX],
        "files": report.files,
        "stores": report.stores,
        "left_out": len(report.found) - len(shown),
        "cut": report.cut,
    }

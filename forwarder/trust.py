"""The certificates that vouch for TLS upstreams: those of each zone's `ca_file`, or the system's.

The supervisor reads them at the start and the worker gets them in memory: OpenSSL, given the system's folder of certificates,
would look for files in the middle of a handshake. Never asks the network. Always holds: what is returned are certificates
that OpenSSL takes, at least one for each; a file that cannot be used is a `Problem` of each zone that names it.
"""

import re
import ssl
import stat
from pathlib import Path

from forwarder.config import Config
from forwarder.errors import ConfigError, Problem

SYSTEM = ""
"""Stands for the system's certificates where there is no `ca_file`."""
MAX_SIZE = 4 << 20
"""Octets of one file: twenty times what Debian trusts."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_BY_HASH = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""Files of OpenSSL's folder of certificates; whatever is called otherwise is no part of it."""


def authorities(config: Config) -> dict[str, bytes]:
    """`ca_file` of each zone asked over TLS (SYSTEM where it has none) -> certificates in DER, one after the other.

    Raises ConfigError with all problems.
    """
    found: dict[str, bytes] = {}
    wrong: dict[str, str] = {}
    problems = []
    for number, zone in enumerate(config.zones):
        if zone.transport != "tls":
            continue
        ca_file = zone.ca_file or SYSTEM
        if ca_file not in found and ca_file not in wrong:
            try:
                found[ca_file] = _of_system() if ca_file == SYSTEM else _checked(_text(Path(ca_file)), ca_file)
            except ValueError as error:
                wrong[ca_file] = str(error)
        if ca_file in wrong:
            problems.append(Problem(f"zones[{number}].ca_file", wrong[ca_file]))
    if problems:
        raise ConfigError(tuple(problems))
    return found


def _of_system() -> bytes:
    """Everything in the file and in the folder that OpenSSL was built with, or that SSL_CERT_FILE and SSL_CERT_DIR name."""
    paths = ssl.get_default_verify_paths()
    files = [Path(paths.cafile)] if paths.cafile else []
    if paths.capath:
        files += [entry for entry in sorted(Path(paths.capath).glob("*")) if _BY_HASH.fullmatch(entry.name)]
    text = "\n".join([_text(file) for file in dict.fromkeys(file.resolve() for file in files) if file.exists()])
    if _CERTIFICATE.search(text) is None:
        places = f"{paths.openssl_cafile} and {paths.openssl_capath}"
        raise ValueError(f"the system has no certificates ({places}): install ca-certificates, or write ca_file: /PATH")
    return _checked(text, "the system's store")


def _text(file: Path) -> str:
    """A file of a reasonable size. Raises ValueError with the sentence for a person."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{file} is not a regular file: name one that holds certificates in PEM")
        if status.st_size > MAX_SIZE:
            raise ValueError(f"{file} is larger than {MAX_SIZE} octets: name one that holds certificates in PEM")
        return file.read_text(encoding="latin-1")  # comments between certificates come in any encoding
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}): mend the path or the permissions") from None


def _checked(text: str, where: str) -> bytes:
    """The certificates of a PEM text, comments and keys between them left out. Raises ValueError as `_text` does."""
    found = _CERTIFICATE.findall(text)
    if not found:
        raise ValueError(f"{where} holds no certificate in PEM: it must have -----BEGIN CERTIFICATE----- in it")
    try:
        certificates = b"".join(dict.fromkeys(ssl.PEM_cert_to_DER_cert(one) for one in found))  # each once
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except ValueError as error:  # ssl.SSLError is none of these; binascii.Error is
        raise ValueError(f"{where} holds a certificate that cannot be read ({error}): take a whole copy of it") from None
    except ssl.SSLError as error:
        raise ValueError(f"{where} holds a certificate that cannot be read ({error.reason}): take a whole copy of it") from None
    return certificates

"""A certificate authority of the test's own, and servers' certificates from it: good ones, and every kind of bad one.

Nothing here is trusted by anybody who was not told to. Always holds: keys live in memory, and in files below the folder given.
"""

import datetime as dt
import ssl
from pathlib import Path

import trustme

NAME = "dns.example.test"
"""Who the servers of these tests say they are."""
DAY = dt.timedelta(days=1)


class Authority:
    """Vouches for servers; its own certificate is a file for `ca_file`."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.file))

    @property
    def der(self) -> bytes:
        """Its certificate, as a worker gets it."""
        return ssl.PEM_cert_to_DER_cert(self.file.read_text())

    def server(self, name: str = NAME, *, valid_for: int = 30, common_name: str | None = None) -> ssl.SSLContext:
        """What a server needs whose certificate is for `name`, from 90 days before its end, so many days from now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate(name, valid_for, common_name).configure_cert(context)
        return context

    def server_files(self, name: str = NAME) -> tuple[Path, Path]:
        """Key and certificate as files, for a server that is a program."""
        certificate = self._certificate(name)
        key, chain = self._folder / "server.key", self._folder / "server.pem"
        certificate.private_key_pem.write_to_path(str(key))
        chain.write_bytes(b"".join(one.bytes() for one in certificate.cert_chain_pems))
        return key, chain

    def _certificate(self, name: str, valid_for: int = 30, common_name: str | None = None) -> trustme.LeafCert:
        ends = dt.datetime.now(tz=dt.UTC) + valid_for * DAY
        return self._authority.issue_cert(name, common_name=common_name, not_before=ends - 90 * DAY, not_after=ends)

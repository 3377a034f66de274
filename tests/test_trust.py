"""The certificates that vouch for TLS upstreams: which files are read, and what is said of those that cannot be used."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from forwarder import trust
from forwarder.config import Config, Zone
from forwarder.errors import ConfigError
from tests.lab.authority import Authority
from tests.lab.needs import needs_program


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("another"))


def zone(ca_file: Path | None, name: str = ".") -> Zone:
    path = None if ca_file is None else str(ca_file)
    return Zone(zone=name, upstreams=("192.0.2.1:853@dns.example",), transport="tls", ca_file=path)


def problems_of(*zones: Zone) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        trust.authorities(Config(zones=zones))
    return {problem.where: problem.what for problem in raised.value.problems}


class TestFiles:
    def test_each_is_read_once_and_comes_in_the_form_that_a_context_takes(self, authority: Authority) -> None:
        zones = (zone(authority.file), zone(authority.file, "b"), Zone(zone="c", upstreams=("192.0.2.1:53",)))
        found = trust.authorities(Config(zones=zones))
        assert found == {str(authority.file): authority.der}

    def test_each_certificate_once_without_comments_in_any_encoding_and_keys_beside_it(
        self, authority: Authority, another: Authority, tmp_path: Path
    ) -> None:
        key, _ = authority.server_files()
        once, more = authority.file.read_bytes(), another.file.read_bytes()
        parts = [b"# F\xf5tan\xfas\xedtv\xe1ny\n", once, key.read_bytes(), more, once]
        bundle = tmp_path / "bundle.pem"
        bundle.write_bytes(b"\r\n".join(parts))
        assert trust.authorities(Config(zones=(zone(bundle),))) == {str(bundle): authority.der + another.der}

    def test_without_tls_nothing_is_read(self) -> None:
        assert trust.authorities(Config(zones=(Zone(zone=".", upstreams=("192.0.2.1:53",)),))) == {}

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (None, "cannot be read (No such file or directory): mend the path or the permissions"),
            (b"", "holds no certificate in PEM"),
            (b"-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "holds no certificate in PEM"),
            (b"-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read"),
            (b"-----BEGIN CERTIFICATE-----\nM\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read"),
            (b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read"),
            (bytes((4 << 20) + 1), "is larger than 4194304 octets"),
        ],
    )
    def test_what_cannot_be_used_is_a_problem_with_path_and_mend(
        self, tmp_path: Path, content: bytes | None, sentence: str
    ) -> None:
        file = tmp_path / "authority.pem"
        if content is not None:
            file.write_bytes(content)
        problems = problems_of(zone(file), zone(file, "b"))
        assert list(problems) == ["zones[0].ca_file", "zones[1].ca_file"]
        assert problems["zones[0].ca_file"].startswith(f"{file} {sentence}")

    def test_half_a_certificate(self, authority: Authority, tmp_path: Path) -> None:
        lines = authority.file.read_text().splitlines()
        (tmp_path / "half.pem").write_text("\n".join([*lines[:3], lines[-1]]))
        assert "take a whole copy" in problems_of(zone(tmp_path / "half.pem"))["zones[0].ca_file"]

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert "is not a regular file" in problems_of(zone(tmp_path / "pipe"))["zones[0].ca_file"]


class TestSystem:
    """The store is where OpenSSL looks, which the environment may say."""

    def found(self, monkeypatch: pytest.MonkeyPatch, file: Path, folder: Path) -> bytes:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        return trust.authorities(Config(zones=(zone(None),)))[trust.SYSTEM]

    def test_one_file(self, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(monkeypatch, authority.file, tmp_path / "none") == authority.der

    def test_a_folder_with_names_by_hash(
        self, authority: Authority, another: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As openssl-rehash(1) makes it: links beside the files they lead to; one that leads nowhere counts for nothing."""
        for number, one in enumerate((authority, another)):
            (tmp_path / f"authority{number}.pem").write_bytes(one.file.read_bytes())
        subprocess.run([needs_program("openssl"), "rehash", str(tmp_path)], check=True)
        (tmp_path / "01234567.0").symlink_to("nowhere")
        found = self.found(monkeypatch, tmp_path / "none", tmp_path)
        assert found in {authority.der + another.der, another.der + authority.der}

    def test_none_at_all_is_a_problem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        assert "install ca-certificates, or write ca_file" in problems_of(zone(None))["zones[0].ca_file"]


def test_what_is_found_is_what_openssl_itself_trusts(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trust.authorities(Config(zones=(zone(authority.file),)))[str(authority.file)])
    assert context.get_ca_certs(binary_form=True) == [authority.der]

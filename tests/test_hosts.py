"""Pinned names: which records come of them, and what is said about what is wrong. dnspython reads what dnslib wrote."""

import os
from pathlib import Path

import dns.name
import dns.rdata
import pytest
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from forwarder import link
from forwarder.errors import ConfigError
from forwarder.hosts import MAX_ADDRESSES, MAX_FILE_SIZE, MAX_POINTERS, MAX_PROBLEMS_PER_FILE, pinned

A, PTR, TXT, AAAA = 1, 12, 16, 28


def records_of(found: link.Pinned) -> dict[tuple[str, int], list[str]]:
    """Name and type -> the records as dnspython prints them."""
    shown: dict[tuple[str, int], list[str]] = {}
    for record in found.records:
        name, used = dns.name.from_wire(record.name, 0)
        assert used == len(record.name)
        rdatas = [
            dns.rdata.from_wire(RdataClass.IN, RdataType.make(record.qtype), rdata, 0, len(rdata)).to_text()
            for rdata in record.rdatas
        ]
        assert shown.setdefault((name.to_text(omit_final_dot=True), record.qtype), rdatas) is rdatas
    return shown


def hosts_file(folder: Path, text: str | bytes, name: str = "hosts") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def problems_of(records: dict[str, list[str]], *files: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        pinned(records, files)
    return [str(problem) for problem in caught.value.problems]


def test_records() -> None:
    found = pinned({"Hello.Test.": ["192.0.2.1", "2001:db8::1", '"it works"', "192.0.2.2"]}, [])
    assert records_of(found) == {
        ("hello.test", A): ["192.0.2.1", "192.0.2.2"],
        ("hello.test", AAAA): ["2001:db8::1"],
        ("hello.test", TXT): ['"it works"'],
        ("1.2.0.192.in-addr.arpa", PTR): ["hello.test."],
        ("2.2.0.192.in-addr.arpa", PTR): ["hello.test."],
        ("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa", PTR): ["hello.test."],
    }
    assert {record.ttl for record in found.records} == {30}
    assert found.records[0].name == b"\x05hello\x04test\x00"


def test_nothing() -> None:
    assert pinned({}, []).records == []


def test_no_record_stands_twice(tmp_path: Path) -> None:
    file = hosts_file(tmp_path, "192.0.2.1 a.test\n192.0.2.1 A.test a.test\n")
    assert records_of(pinned({}, [file, file])) == {
        ("a.test", A): ["192.0.2.1"],
        ("1.2.0.192.in-addr.arpa", PTR): ["a.test."],
    }


def test_hosts_file(tmp_path: Path) -> None:
    text = (
        "# comment, f\u00fcr alle\n"
        "127.0.0.1\tlocalhost  # loopback\n"
        "\n"
        "::1 localhost ip6-localhost\r\n"
        "  192.0.2.1   web.test  www web_2\n"
        "192.0.2.2 web.test"
    )
    assert records_of(pinned({}, [hosts_file(tmp_path, text)])) == {
        ("localhost", A): ["127.0.0.1"],
        ("1.0.0.127.in-addr.arpa", PTR): ["localhost."],
        ("localhost", AAAA): ["::1"],
        ("ip6-localhost", AAAA): ["::1"],
        ("1." + "0." * 31 + "ip6.arpa", PTR): ["localhost."],
        ("web.test", A): ["192.0.2.1", "192.0.2.2"],
        ("www", A): ["192.0.2.1"],
        ("web_2", A): ["192.0.2.1"],
        ("1.2.0.192.in-addr.arpa", PTR): ["web.test."],
        ("2.2.0.192.in-addr.arpa", PTR): ["web.test."],
    }


def test_records_stand_before_files(tmp_path: Path) -> None:
    file = hosts_file(tmp_path, "192.0.2.9 A.test other.test\n2001:db8::9 a.test\n")
    found = records_of(pinned({"a.test": ["192.0.2.1"]}, [file]))
    assert found["a.test", A] == ["192.0.2.1"]
    assert ("a.test", AAAA) not in found
    assert found["other.test", A] == ["192.0.2.9"]


def test_reverse_name_of_a_record_may_be_pinned_by_a_file_too(tmp_path: Path) -> None:
    file = hosts_file(tmp_path, "192.0.2.1 b.test\n")
    assert records_of(pinned({"a.test": ["192.0.2.1"]}, [file]))["1.2.0.192.in-addr.arpa", PTR] == ["a.test.", "b.test."]


def test_block_list(tmp_path: Path) -> None:
    lines = [f"0.0.0.0 ads{number}.test\n127.0.0.1 more{number}.test\n" for number in range(100)]
    found = records_of(pinned({}, [hosts_file(tmp_path, "".join(lines))]))
    assert found["ads99.test", A] == ["0.0.0.0"]
    assert ("0.0.0.0.in-addr.arpa", PTR) not in found
    assert len(found["1.0.0.127.in-addr.arpa", PTR]) == MAX_POINTERS


def test_long_text() -> None:
    found = records_of(pinned({"a": [f'"{"x" * 600}"', '""', '"\u00fc"']}, []))
    assert found["a", TXT] == [f'"{"x" * 255}" "{"x" * 255}" "{"x" * 90}"', '""', r'"\195\188"']


def test_longest_name() -> None:
    name = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(pinned({name: ["192.0.2.1"]}, []).records[0].name) == 255
    assert "253 characters" in problems_of({name + "b": ["192.0.2.1"]})[0]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("a", "text", "'text' is no IP address"),
        ("a", "fe80::1%eth0", "the address alone"),
        ("a", '"text', "none at its end"),
        ("a", '"', "none at its end"),
        ("a", '"' + "x" * 1001 + '"', "1000 octets"),
        ("a..b", "192.0.2.1", "no domain name"),
        ("", "192.0.2.1", "no domain name"),
        (".", "192.0.2.1", "no domain name"),
        ("*.a", "192.0.2.1", "no domain name"),
        ("\u00fc", "192.0.2.1", "no domain name"),
    ],
)
def test_wrong_records(name: str, value: str, what: str) -> None:
    (problem,) = problems_of({name: [value]})
    assert problem.startswith(f'hosts.records["{name}"][0]: ')
    assert what in problem


def test_all_problems_come_together(tmp_path: Path) -> None:
    good = hosts_file(tmp_path, "192.0.2.1 a\n", "good")
    bad = hosts_file(tmp_path, b"192.0.2.1 a\n192.0.2.300 b\n192.0.2.1\n192.0.2.1 a..b\n" + b"::1 \xff\n", "bad")
    missing = str(tmp_path / "missing")
    assert problems_of({"a": ["x"]}, good, bad, missing) == [
        "hosts.records[\"a\"][0]: 'x' is no IP address: write one such as 192.0.2.1 or 2001:db8::1",
        f"{bad}:2: '192.0.2.300' is no IP address: write one such as 192.0.2.1 or 2001:db8::1",
        f"{bad}:3: 192.0.2.1 has no name behind it: write address and name on one line",
        f"{bad}:4: 'a..b' is no domain name: parts of 1 to 63 letters, digits, -, _ and /, 253 characters in all",
        f"{bad}:5: holds characters that are not ASCII: write names in their xn-- form",
        f"{missing}: cannot be read: No such file or directory",
    ]


def test_another_kind_of_file(tmp_path: Path) -> None:
    problems = problems_of({}, hosts_file(tmp_path, "hello\n" * 1000))
    assert len(problems) == MAX_PROBLEMS_PER_FILE + 1
    assert problems[-1].endswith("980 more lines are wrong: is this a hosts file?")


def test_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert problems_of({}, str(tmp_path), str(tmp_path / "pipe"), "/dev/zero", "a\0b") == [
        f"{tmp_path}: cannot be read: Is a directory",
        f"{tmp_path}/pipe: is not a regular file: name one",
        "/dev/zero: is not a regular file: name one",
        "a\0b: embedded null byte",
    ]


def test_large_file(tmp_path: Path) -> None:
    assert "larger than 4 MiB" in problems_of({}, hosts_file(tmp_path, b"#" * (MAX_FILE_SIZE + 1)))[0]
    assert pinned({}, [hosts_file(tmp_path, b"#" * MAX_FILE_SIZE)]).records == []


def test_more_addresses_than_a_response_holds(tmp_path: Path) -> None:
    lines = [f"192.0.{number // 200}.{number % 200} a.test\n" for number in range(MAX_ADDRESSES + 1)]
    (problem,) = problems_of({}, hosts_file(tmp_path, "".join(lines)))
    assert f":{MAX_ADDRESSES + 1}: a.test has more than {MAX_ADDRESSES} addresses" in problem


def test_what_is_pinned_goes_to_a_worker() -> None:
    found = pinned({"a": ["192.0.2.1", '"text"']}, [])
    assert link.read_order(link.written(found)) == found


lines = st.lists(
    st.sampled_from(["192.0.2.1", "::1", "a.test", "#", " ", "\t", "\r", "\n", "\n", "x" * 64, "%", ".", "\\", "*"])
)


@given(data=st.binary(max_size=60) | lines.map("".join).map(str.encode))
def test_any_file_is_records_or_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = hosts_file(tmp_path_factory.getbasetemp(), data, "any")
    try:
        records_of(pinned({}, [file]))
    except ConfigError as error:
        assert all(problem.where.startswith(file) for problem in error.problems)  # noqa: PT017 - either outcome is right

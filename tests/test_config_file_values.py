"""The text of one value: read, bounded, written again; every refusal says what to write."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.config import Count, Duration, Endpoint, Size, Word
from forwarder.config_file.values import Shape, duration_text, size_text, value_for

LONG = Duration(0.0, 1e6)
LARGE = Size(0, 1 << 50)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2s", 2.0), ("400ms", 0.4), ("1h", 3600.0), ("1.8s", 1.8), ("5m", 300.0), ("0s", 0.0), ("1.5h", 5400.0), ("2 s", 2.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert value_for(LONG, text) == seconds


@pytest.mark.parametrize(
    ("text", "octets"), [("32MiB", 32 << 20), ("8MiB", 8 << 20), ("512KiB", 512 << 10), ("1.5GiB", 3 << 29)]
)
def test_sizes(text: str, octets: int) -> None:
    value = value_for(LARGE, text)
    assert value == octets
    assert isinstance(value, int)


@given(st.integers(0, 10**9))
def test_durations_read_as_written(milliseconds: int) -> None:
    assert value_for(LONG, duration_text(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 1 << 36))
def test_sizes_read_as_written(kibibytes: int) -> None:
    assert value_for(LARGE, size_text(kibibytes * 1024)) == kibibytes * 1024


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.8, "1.8s"), (0.4, "400ms"), (90.0, "90s"), (3600.0, "1h"), (0.0, "0ms"), (604800.0, "168h")]
)
def test_durations_as_people_write_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Count(1, 64), "7", 7),
        (Endpoint(53), "127.0.0.1", "127.0.0.1:53"),
        (Endpoint(9253), "[::1]", "[::1]:9253"),
        (Endpoint(53), "[FD00:0::10]:5300", "[fd00::10]:5300"),
        (Endpoint(53), "2001:db8::1", "[2001:db8::1]:53"),
        (Endpoint(53), "0.0.0.0", "0.0.0.0:53"),
        (Endpoint(53), "fe80::1%eth0", "[fe80::1%eth0]:53"),
        (Word.UPSTREAM, "10.96.0.10", "10.96.0.10:53"),
        (Word.UPSTREAM, "192.0.2.1@Dns.Example.", "192.0.2.1:853@dns.example"),
        (Word.UPSTREAM, "192.0.2.1:8853@dns.example", "192.0.2.1:8853@dns.example"),
        (Word.UPSTREAM, "2001:db8::1@dns.example", "[2001:db8::1]:853@dns.example"),
        (Word.UPSTREAM, "[fe80::1%eth0]:53@dns.example", "[fe80::1%eth0]:53@dns.example"),
        (Word.UPSTREAM, "/etc/resolv.conf", "/etc/resolv.conf"),
        (Word.ADDRESS, "10.96.0.10", "10.96.0.10"),
        (Word.NETWORK, "private", "private"),
        (Word.NETWORK, "FD00::/8", "fd00::/8"),
        (Word.NETWORK, "192.0.2.1", "192.0.2.1/32"),
        (Word.NAME, "Cluster.Local.", "cluster.local"),
        (Word.NAME, "0/25.2.0.192.in-addr.arpa", "0/25.2.0.192.in-addr.arpa"),
        (Word.NAME, ".".join(["a" * 63] * 3 + ["b" * 61]), ".".join(["a" * 63] * 3 + ["b" * 61])),
        (Word.ZONE, ".", "."),
        (Word.PATH, "/run/x", "/run/x"),
        (Word.INTERFACE, "forwarder0", "forwarder0"),
        (Word.USER, "www-data", "www-data"),
        (Word.USER, "65534", "65534"),
        (Word.PINNED, "2001:DB8::1", "2001:db8::1"),
        (Word.PINNED, '"Some text"', '"Some text"'),
    ],
)
def test_taken(shape: Shape, text: str, value: float | str) -> None:
    assert value_for(shape, text) == value
    assert value_for(shape, str(value)) == value  # a Config's spelling reads as itself


@pytest.mark.parametrize(
    ("shape", "text", "mend"),
    [
        (LONG, "2", "the units are ms, s, m, h"),
        (LONG, "2 sec", "the units are ms, s, m, h"),
        (LONG, "2MiB", "the units are ms, s, m, h"),
        (LONG, "-2s", "such as 400ms"),
        (LONG, "1h30m", "such as 400ms"),
        (LONG, "0.1ms", "whole number of ms"),
        (LONG, "9" * 5000 + "s", "such as 400ms"),
        (LONG, "\u0662s", "such as 400ms"),  # an Arabic digit, which int() would take
        (Duration(0.1, 4.5), "5s", "write 100ms to 4.5s"),
        (Duration(0.1, 4.5), "99ms", "write 100ms to 4.5s"),
        (LARGE, "32MB", "the units are KiB, MiB, GiB"),
        (LARGE, "32", "the units are KiB, MiB, GiB"),
        (LARGE, "1.0001KiB", "whole number of KiB"),
        (Size(1 << 20, 1 << 30), "1KiB", "write 1MiB to 1GiB"),
        (Count(1, 64), "one", "write 1 to 64"),
        (Count(1, 64), "65", "write 1 to 64"),
        (Count(1, 64), "0", "write 1 to 64"),
        (Count(1, 64), "9" * 5000, "write 1 to 64"),
        (Endpoint(53), "localhost:53", "192.0.2.1"),
        (Endpoint(53), "127.0.0.1:0", "1 to 65535"),
        (Endpoint(53), "127.0.0.1:65536", "1 to 65535"),
        (Endpoint(53), "127.0.0.1:", "leave it out for 53"),
        (Endpoint(53), "[127.0.0.1]:53", "[2001:db8::1]:53"),
        (Endpoint(53), "[::1", "[2001:db8::1]:53"),
        (Endpoint(53), "[::1]53", "[2001:db8::1]:53"),
        (Endpoint(53), "fd00::10:53", "write [fd00::10]:53"),
        (Endpoint(53), "127.1", "192.0.2.1"),
        (Endpoint(53), "010.0.0.1", "192.0.2.1"),
        (Endpoint(53), "::ffff:192.0.2.1", "write 192.0.2.1"),
        (Endpoint(53), "224.0.0.251:53", "of this one"),
        (Endpoint(53), "[fe80::1%a b]:53", "fe80::1%eth0"),
        (Word.UPSTREAM, "dns.example", "192.0.2.1"),
        (Word.UPSTREAM, "0.0.0.0", "of a DNS server"),
        (Word.UPSTREAM, "resolv/conf", "/etc/resolv.conf"),
        (Word.UPSTREAM, "192.0.2.1@", "such as dns.example"),
        (Word.UPSTREAM, "192.0.2.1@192.0.2.1", "such as dns.example"),
        (Word.UPSTREAM, "192.0.2.1@[::1]", "such as dns.example"),
        (Word.UPSTREAM, "192.0.2.1@/etc", "such as dns.example"),
        (Word.UPSTREAM, "192.0.2.1@.", "write a name"),
        (Word.UPSTREAM, "192.0.2.1@dns.example:853", "letters"),
        (Word.UPSTREAM, "192.0.2.1@a@b", "letters"),
        (Word.UPSTREAM, "dns.example@192.0.2.1", "192.0.2.1"),
        (Word.UPSTREAM, "0.0.0.0@dns.example", "of a DNS server"),
        (Word.UPSTREAM, "192.0.2.1:@dns.example", "leave it out for 853"),
        (Word.NETWORK, "10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1/32"),
        (Word.NETWORK, "public", "any, loopback, link-local, private"),
        (Word.NETWORK, "fe80::1%eth0/64", "192.0.2.0/24"),
        (Word.NAME, ".", "write a name"),
        (Word.NAME, "a..b", "empty"),
        (Word.NAME, "*.a", "wildcards"),
        (Word.NAME, "b\u00fccher.example", "xn--"),
        (Word.NAME, "a" * 64, "63"),
        (Word.NAME, ".".join(["a" * 63] * 3 + ["b" * 62]), "255"),
        (Word.NAME, "a b", "letters"),
        (Word.PATH, "run/x", "begins with /"),
        (Word.PATH, "/run/\x00", "printable"),
        (Word.INTERFACE, "a" * 16, "15"),
        (Word.INTERFACE, "..", "15"),
        (Word.USER, "a b", "no name of a user"),
        (Word.USER, "-", "no name of a user"),
        (Word.USER, "a" * 33, "no name of a user"),
        (Word.PINNED, "text", "'\"some text\"'"),
        (Word.PINNED, '"text', "none at its end"),
        (Word.PINNED, '"', "none at its end"),
        (Word.PINNED, f'"{"x" * 1001}"', "1000 octets"),
        (Word.PINNED, "fe80::1%eth0", "the address alone"),
    ],
)
def test_refused(shape: Shape, text: str, mend: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        value_for(shape, text)
    assert mend in str(caught.value)
    assert len(str(caught.value)) < 250


every_shape = st.sampled_from([LONG, LARGE, Count(1, 64), Endpoint(53), *Word])
near_values = st.text('0123456789abfmsihKMGB.:/[]%@"* -', max_size=24)


@given(every_shape, st.text(max_size=40) | near_values)
def test_any_text_is_a_value_or_a_sentence(shape: Shape, text: str) -> None:
    with suppress(ValueError):  # UnicodeError and the like are ValueErrors too: the reader shows them as well
        value = value_for(shape, text)
        if isinstance(value, str):
            assert value_for(shape, value) == value

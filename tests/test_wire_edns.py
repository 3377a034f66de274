"""OPT as we write it, read by dnspython and dnslib."""

import dns.edns
import dns.flags
import dns.message
import dnslib
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forwarder.wire.edns import EXTENDED_ERROR, FIXED_SIZE, MAX_ERROR_TEXT, ExtendedError, extended_error, opt_record
from tests.lab.messages import HEADER

sizes = st.integers(0, 0xFFFF)
rcodes = st.integers(0, 0xFFF)
errors = st.sampled_from([error for error in ExtendedError if error is not ExtendedError.NONE])


def message_with(opt: bytes, rcode: int = 0) -> bytes:
    return HEADER.pack(7, 0x8000 | rcode & 0xF, 0, 0, 0, 1) + opt


@given(size=sizes, rcode=rcodes, do=st.booleans())
def test_dnspython_reads_what_was_meant(*, size: int, rcode: int, do: bool) -> None:
    seen = dns.message.from_wire(message_with(opt_record(size, rcode=rcode, do=do), rcode))
    assert (seen.edns, seen.payload, seen.rcode(), seen.options) == (0, size, rcode, ())
    assert seen.ednsflags & 0xFFFF == (dns.flags.DO if do else 0)


@given(size=sizes, rcode=rcodes, do=st.booleans())
def test_dnslib_reads_what_was_meant(*, size: int, rcode: int, do: bool) -> None:
    (opt,) = dnslib.DNSRecord.parse(message_with(opt_record(size, rcode=rcode, do=do))).ar
    assert (opt.edns_ver, opt.edns_len, opt.edns_rcode, bool(opt.edns_do)) == (0, size, rcode >> 4, do)


def test_without_options_it_has_its_fixed_size() -> None:
    assert len(opt_record(1232)) == FIXED_SIZE


@example(ExtendedError.BLOCKED, "x" * (MAX_ERROR_TEXT + 1))
@given(errors, st.text(max_size=2 * MAX_ERROR_TEXT))
def test_an_extended_error_is_read_back_cut_and_in_ascii(error: ExtendedError, text: str) -> None:
    option = extended_error(error, text)
    seen = dns.message.from_wire(message_with(opt_record(1232, options=option)))
    (read_back,) = seen.options
    assert isinstance(read_back, dns.edns.EDEOption)
    meant = "".join(character if character < "\x80" else "?" for character in text[:MAX_ERROR_TEXT])
    # RFC 8914 section 2: EXTRA-TEXT may be null-terminated, so readers take a null at its end off.
    assert (int(read_back.code), read_back.text or "") == (int(error), meant.removesuffix("\0"))
    assert len(option) <= 6 + MAX_ERROR_TEXT


def test_several_options_stand_side_by_side() -> None:
    options = extended_error(ExtendedError.STALE_ANSWER, "old") + extended_error(ExtendedError.NETWORK_ERROR)
    (opt,) = dnslib.DNSRecord.parse(message_with(opt_record(1232, options=options))).ar
    assert [(option.code, option.data) for option in opt.rdata] == [(EXTENDED_ERROR, b"\0\x03old"), (EXTENDED_ERROR, b"\0\x17")]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExtendedError.STALE_ANSWER, dns.edns.EDECode.STALE_ANSWER),
        (ExtendedError.CACHED_ERROR, dns.edns.EDECode.CACHED_ERROR),
        (ExtendedError.BLOCKED, dns.edns.EDECode.BLOCKED),
        (ExtendedError.PROHIBITED, dns.edns.EDECode.PROHIBITED),
        (ExtendedError.NOT_AUTHORITATIVE, dns.edns.EDECode.NOT_AUTHORITATIVE),
        (ExtendedError.NOT_SUPPORTED, dns.edns.EDECode.NOT_SUPPORTED),
        (ExtendedError.NO_REACHABLE_AUTHORITY, dns.edns.EDECode.NO_REACHABLE_AUTHORITY),
        (ExtendedError.NETWORK_ERROR, dns.edns.EDECode.NETWORK_ERROR),
        (ExtendedError.INVALID_DATA, dns.edns.EDECode.INVALID_DATA),
    ],
)
def test_the_codes_are_those_of_the_registry(error: ExtendedError, code: dns.edns.EDECode) -> None:
    assert int(error) == int(code)

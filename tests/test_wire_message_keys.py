"""A question's key says all that is needed to ask it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.wire.message import CD, RD, parse_query, query_for_key
from tests.lab.messages import names, query


@given(name=names, qtype=st.integers(0, 0xFFFF), do=st.booleans(), cd=st.booleans())
def test_the_query_for_a_key_has_that_key(name: bytes, qtype: int, *, do: bool, cd: bool) -> None:
    octets = bytes(2) + (CD if cd else 0).to_bytes(2) + b"\0\1\0\0\0\0\0\1" + name + qtype.to_bytes(2) + b"\0\1"
    octets += b"\0\0\x29\4\xd0\0\0" + (b"\x80\0" if do else b"\0\0") + b"\0\0"
    asked = parse_query(octets)
    again = query_for_key(asked.key)
    assert (again.key, again.name, again.qtype, again.qclass, again.do) == (asked.key, asked.name, qtype, 1, do)
    assert again.flags == RD | (CD if cd else 0)
    assert again.question == asked.name + asked.question[-4:], "spelled in lower case"


@pytest.mark.parametrize("text", ["q.example. A", "q.example. AAAA", ". NS"])
def test_it_reads_like_a_query_that_came(text: str) -> None:
    asked = query(text)
    again = query_for_key(asked.key)
    assert (again.question, again.name, again.rcode, again.has_edns) == (asked.question, asked.name, 0, False)

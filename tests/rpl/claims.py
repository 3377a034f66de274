"""What a scenario expects, held against what was seen: pure functions that return what is wrong, in words."""

from collections.abc import Iterable, Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from prometheus_client.core import Metric as Family

from tests.lab.clients import extended_errors
from tests.rpl.statements import Expected, Record


def differences(expected: Expected, response: dns.message.Message, asked_name: str) -> Iterator[str]:
    """What of a response is not as expected."""
    rcode = dns.rcode.to_text(response.rcode())
    if rcode != expected.rcode:
        yield f"RCODE {rcode}, not {expected.rcode}"
    yield from _records(expected, response, asked_name)
    errors = extended_errors(response)
    if expected.error == -1 and errors:
        yield f"EDE {errors}, none expected"
    elif expected.error not in {None, -1} and not any(
        code == expected.error and expected.error_text in text for code, text in errors
    ):
        yield f'EDE {errors or "missing"}, not {expected.error} "{expected.error_text}"'
    if bool(response.flags & dns.flags.TC) != expected.is_truncated:
        yield "TC=0" if expected.is_truncated else "TC=1"
    has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    if expected.has_soa not in {None, has_soa}:
        yield "an SOA in the authority section" if has_soa else "no SOA in the authority section"
    is_authentic = bool(response.flags & dns.flags.AD)
    if expected.is_authentic not in {None, is_authentic}:
        yield f"AD={int(is_authentic)}"


def _records(expected: Expected, response: dns.message.Message, asked_name: str) -> Iterator[str]:
    found = [(rrset.name.to_text(), rrset, rdata) for rrset in response.answer for rdata in rrset]
    if expected.size is not None:
        if len(found) not in expected.size:
            yield f"{len(found)} records, not {expected.size}"
        return
    left = list(found)
    for record in expected.records:
        place = next((one for one in left if _is(record, asked_name, one[0], one[1].rdtype, one[2])), None)
        if place is None:
            yield f"no {record.rtype} {record.rdata} in the answer"
            continue
        left.remove(place)
        if record.ttl is not None and place[1].ttl not in record.ttl:
            yield f"TTL {place[1].ttl} of {record.rtype} {record.rdata}, not {record.ttl}"
    for owner, rrset, rdata in left:
        yield f"{owner} {dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()} in the answer, not expected"


def _is(record: Record, asked_name: str, owner: str, rdtype: int, rdata: dns.rdata.Rdata) -> bool:
    wanted = dns.rdata.from_text(dns.rdataclass.IN, record.rtype, record.rdata)
    return (
        owner.lower() == (record.owner or asked_name).lower()
        and rdtype == dns.rdatatype.from_text(record.rtype)
        and rdata == wanted
    )


def summed(families: Iterable[Family], name: str, labels: dict[str, str]) -> float | None:
    """The sum of all samples of this name that have these labels; None: there is none."""
    values = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else None

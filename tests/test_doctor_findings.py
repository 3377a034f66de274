"""A finding is a problem or a notice."""

from forwarder.doctor.findings import Finding, Severity, severity_of


def test_a_problem_is_one() -> None:
    assert severity_of(is_problem=True) is Severity.PROBLEM
    assert severity_of(is_problem=False) is Severity.NOTICE
    assert Finding("x", Severity.PROBLEM, "", "", "").is_problem
    assert not Finding("x", Severity.NOTICE, "", "", "").is_problem

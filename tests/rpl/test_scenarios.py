"""Every scenario of `scenarios/`, played."""

from pathlib import Path

import pytest

from tests.rpl.parser import read_scenario
from tests.rpl.player import problem_in

SCENARIOS = sorted(Path(__file__).with_name("scenarios").glob("*.rpl"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    if problem := problem_in(read_scenario(path)):
        pytest.fail(problem, pytrace=False)


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 28

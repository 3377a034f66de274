"""Message IDs on one stream: no two queries outstanding share one, and each response finds its own query in any order."""

import random
from collections.abc import Callable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from forwarder.upstream.pipelining import MAX_OUTSTANDING, Pipeline

EVENTS = st.lists(st.tuples(st.sampled_from(["admit", "admit", "admit", "settle", "take all"]), st.integers(0)))


def drawn_from(ids: Iterator[int]) -> Callable[[], int]:
    return lambda: next(ids)


@given(EVENTS, st.integers(0, 2**32))
def test_ids_belong_to_one_query_each_whatever_happens(events: list[tuple[str, int]], seed: int) -> None:
    """With IDs of three bits, so that most draws meet one that is taken; the model is a list of pairs, oldest first."""
    space = random.Random(seed)  # noqa: S311 - a test that can be repeated
    pipeline: Pipeline[str] = Pipeline(lambda: space.randrange(8))
    model: list[tuple[int, str]] = []
    for number, (event, pick) in enumerate(events):
        if event == "admit" and len(model) < 8:
            model.append((pipeline.admit(f"query {number}"), f"query {number}"))
        elif event == "settle" and model:
            identity, query = model.pop(pick % len(model))
            assert pipeline.outstanding.pop(identity) == query
        elif event == "take all":
            assert pipeline.take_all() == [query for _, query in model]
            model.clear()
        assert len(pipeline) == len(model)
        known = dict(model)
        assert len(known) == len(model)
        assert pipeline.outstanding == known


def test_an_id_that_is_taken_is_drawn_anew() -> None:
    pipeline: Pipeline[str] = Pipeline(drawn_from(iter([7, 7, 7, 9])))
    assert pipeline.admit("first") == 7
    assert pipeline.admit("second") == 9
    assert pipeline.outstanding == {7: "first", 9: "second"}


def test_a_settled_id_may_be_drawn_again() -> None:
    pipeline: Pipeline[str] = Pipeline(drawn_from(iter([7, 7])))
    del pipeline.outstanding[pipeline.admit("first")]
    assert not pipeline.outstanding
    assert pipeline.admit("second") == 7


def test_zero_is_an_id_like_any_other() -> None:
    pipeline: Pipeline[str] = Pipeline(drawn_from(iter([0, 0, 1])))
    assert pipeline.admit("first") == 0
    assert pipeline.admit("second") == 1


def test_as_many_as_may_be_outstanding_all_have_ids_of_their_own() -> None:
    space = random.Random(1)  # noqa: S311 - a test that can be repeated
    pipeline: Pipeline[int] = Pipeline(lambda: space.randrange(65536))
    ids = [pipeline.admit(number) for number in range(MAX_OUTSTANDING)]
    assert len(set(ids)) == MAX_OUTSTANDING
    assert pipeline.take_all() == list(range(MAX_OUTSTANDING))
    assert pipeline.take_all() == []

"""Notes, and zones with the limits that a source leaves open."""

from forwarder.config import CacheSettings, Config
from forwarder.importing.drafts import Note, Notes, ZoneDraft, with_zones
from forwarder.importing.sources import Place
from tests.lab.importing import SOMEWHERE


def test_notes_come_in_the_order_of_the_source_each_once() -> None:
    notes = Notes()
    late, early = Place(9, 9, "b"), Place(1, 1, "a")
    for place in (late, early, late):
        notes.add(place, "is other")
    assert notes.all() == (Note(early, "is other"), Note(late, "is other"))


def test_limits_that_are_open_are_those_of_the_cache() -> None:
    config = Config(zones=(), cluster_domain="cluster.local", cache=CacheSettings(max_ttl=60.0, max_negative_ttl=6.0))
    drafts = (
        ZoneDraft("cluster.local", ("192.0.2.1:53",), SOMEWHERE),
        ZoneDraft(".", ("192.0.2.1:53",), SOMEWHERE, max_ttl=5.0, max_negative_ttl=0.0, maximum_stale_timer=1.0),
    )
    cluster, root = with_zones(config, drafts).zones
    assert (cluster.max_ttl, cluster.max_negative_ttl, cluster.maximum_stale_timer) == (60.0, 6.0, 30.0)
    assert (root.max_ttl, root.max_negative_ttl, root.maximum_stale_timer) == (5.0, 0.0, 1.0)

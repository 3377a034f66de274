"""The status page in a real browser, before a daemon under real traffic: what it shows is so, and it is fit to be looked at.

One browser, one daemon with two real upstreams, one client that asks all the while. Hostile names are shown by the pages
around a daemon that is made up (`lab.pages`), so that each of them is on the page for sure.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from forwarder.observe.overview import MISSES, Asked, Conntrack, Names
from tests.lab.browser import FAINT, Browser, Scheme, Shown, browsing
from tests.lab.clients import ask, query
from tests.lab.daemon import Daemon
from tests.lab.figures import Daemon as Figures
from tests.lab.nsd import Nsd
from tests.lab.pages import SECONDS, Served, visited
from tests.lab.pages import Shown as ShownPages
from tests.lab.steady import Steady

ROOT_ZONE = ". 60 SOA ns. host. 1 2 3 4 60\n. NS ns.\nns. A 192.0.2.1\n"
ZONE = """\
$ORIGIN example.test.
@ 60 SOA ns host 1 2 3 4 60
@ NS ns
ns A 192.0.2.1
* 30 A 192.0.2.7
"""
CONFIG = """\
zones: [{{zone: ., upstreams: ['{0}', '{1}'], policy: equal}}]
hosts: {{records: {{pinned.example.test: [192.0.2.3]}}}}
search: {{domains: [shop.svc.cluster.local, svc.cluster.local, cluster.local]}}
"""
RATE = 200.0  # queries a second
LONGEST = 120.0
"""Seconds of questions; the client is ended with the file."""
POINT = 0.01
TURN = 5.0
"""Seconds until the page shows that an upstream is gone, or back."""
LINES = "[...document.querySelectorAll('.chart svg')].map((one) => one.innerHTML)"
"""What each chart draws."""
DRAWN = "[...document.querySelectorAll('.chart')].every((one) => one.firstChild.viewBox.baseVal.width === one.clientWidth)"
"""The charts are as wide as their places."""
UNNAMED = "[...document.querySelectorAll('a, button, svg, th')].filter((one) => !one.textContent.trim() && !one.ariaLabel)"
WIDTHS = (360, 1400)
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Scene:
    """What all scenarios look at."""

    daemon: Daemon
    shown: Shown
    second: Nsd
    """An upstream that is stopped and begun again."""
    held: ExitStack
    """Where it runs."""

    def sources(self) -> dict[str, float]:
        """Responses so far, by source, as /metrics has them."""
        names = self.shown.page.evaluate(
            "fetch('api/overview').then((got) => got.json()).then((all) => Object.keys(all.sources))"
        )
        return {name: self.daemon.metric("forwarder_responses_total", source=name) for name in names}


def questions() -> list[tuple[str, str]]:
    """Names asked again and again, names asked once, names that a search path makes up, and one that is pinned."""
    every = []
    for number in range(int(RATE * LONGEST)):
        kind = number % 10
        name = f"known{number % 37}.example.test"
        if kind == 3:
            name = f"new{number}.example.test"
        elif kind == 6:
            name = f"api{number % 70}.example.com.shop.svc.cluster.local"
        elif kind == 8:
            name = "pinned.example.test"
        every.append((name, "A"))
    return every


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as made:
        yield made


@pytest.fixture(scope="module")
def scene(browser: Browser) -> Iterator[Scene]:
    zones = {"example.test": ZONE, ".": ROOT_ZONE}
    first, second = Nsd(zones), Nsd(zones)
    with first, ExitStack() as held:
        held.enter_context(second)
        config = CONFIG.format(first.address, second.address)
        with Daemon(config) as daemon, Steady(daemon.server, questions(), RATE), browser.opened(daemon.url) as shown:
            shown.wait_for("document.querySelectorAll('path').length > 5")
            yield Scene(daemon, shown, second, held)


def percent(text: str) -> float:
    """`93.4 %` -> 0.934."""
    return float(text.split(maxsplit=1)[0]) / 100


def ratio(sources: dict[str, float]) -> float:
    return 1 - sum(sources[name] for name in MISSES) / sum(sources.values())


def test_the_charts_move(scene: Scene) -> None:
    before = scene.shown.page.evaluate(LINES)
    for _ in range(2):
        now = scene.shown.wait_for(
            f"(before) => {{ const now = {LINES}; return now.join() !== before.join() && now; }}", before
        )
        assert [one != other for one, other in zip(before, now, strict=True)] == [True] * 3
        assert "NaN" not in "".join(now)
        before = now


def test_the_hit_ratio_is_the_one_of_the_metrics(scene: Scene) -> None:
    scene.shown.changed("#queries-all")
    before = scene.sources()
    shown = percent(scene.shown.text("#hit-ratio-all"))
    assert shown == pytest.approx(ratio(before), abs=POINT)
    lately = percent(scene.shown.text("#hit-ratio"))
    assert lately == pytest.approx(ratio(before), abs=POINT), "the last minute is all there was"
    assert 0.5 < lately < 0.95, "hits and misses are among them"
    assert scene.shown.page.title().endswith("hits · serving · forwarder")


def state_of(scene: Scene) -> tuple[str, str]:
    """What the second upstream's state says, and its colour."""
    pill = scene.shown.page.locator("#upstreams tr", has_text=scene.second.address).locator(".pill")
    return pill.inner_text(), pill.evaluate("(one) => getComputedStyle(one).color")


def becomes(scene: Scene, word: str) -> float:
    """Seconds until it says that."""
    begun = time.monotonic()
    while state_of(scene)[0] != word:
        assert time.monotonic() < begun + TURN, f"not {word} after {TURN} s"
        time.sleep(0.05)
    return time.monotonic() - begun


def test_an_upstream_that_is_stopped_turns_red_and_green_again(scene: Scene) -> None:
    word, green = state_of(scene)
    assert word == "up"
    scene.held.close()
    becomes(scene, "down")
    _, red = state_of(scene)
    assert red != green
    assert scene.second.address in scene.shown.wait_for("document.querySelector('#warnings-list').innerText")
    scene.shown.keep("upstream-down")
    scene.held.enter_context(scene.second)
    becomes(scene, "up")
    assert state_of(scene) == ("up", green)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits(scene: Scene, width: int, scheme: Scheme) -> None:
    scene.shown.resize(width)
    scene.shown.prefer(scheme)
    scene.shown.wait_for(
        "document.querySelector('#chart-hits svg').viewBox.baseVal.width === document.querySelector('#chart-hits').clientWidth"
    )
    scene.shown.keep(f"{width}-{scheme}")
    assert scene.shown.misplaced() == []


def test_dark_is_dark(scene: Scene) -> None:
    grounds = {}
    for scheme in SCHEMES:
        scene.shown.prefer(scheme)
        grounds[scheme] = scene.shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(243, 245, 248)", "dark": "rgb(14, 19, 25)"}


def test_every_text_can_be_read(scene: Scene) -> None:
    for scheme in SCHEMES:
        scene.shown.prefer(scheme)
        assert scene.shown.page.evaluate(FAINT) == [], scheme


def test_the_keyboard_reaches_what_can_be_used_and_leaves_again(browser: Browser, scene: Scene) -> None:
    with browser.opened(scene.daemon.url) as shown:
        keyboard = shown.page.keyboard
        reached = []
        for _ in range(7):
            keyboard.press("Tab")
            reached.append(shown.page.evaluate("document.activeElement.innerText"))
        assert reached[:6] == ["Skip to the figures", "Pause", "Metrics", "Health", "Readiness", "API"]
        assert reached[6] not in reached[1:6], "out of the page, or at its beginning again"
        shown.page.locator("#pause").focus()
        keyboard.press("Space")
        assert shown.page.locator("#pause").get_attribute("aria-pressed") == "true"
        figures = shown.text("#queries-all")
        shown.changed("#clock")
        assert shown.text("#queries-all") == figures, "it stands still"
        keyboard.press("Enter")
        shown.changed("#queries-all", figures)


def test_a_screen_reader_hears_what_there_is(scene: Scene) -> None:
    """The tree that assistive programs get."""
    tree = scene.shown.page.locator("body").aria_snapshot()
    for part in ("- banner", "- main", "- contentinfo", '- navigation "The same for programs"', '- button "Pause"'):
        assert part in tree
    for name in ("Hit ratio over", "Queries a second over", "Time to answer over"):
        assert f'img "{name}' in tree
    for heading in ("Hit ratio", "Queries a second", "Upstreams", "Saved by denial", "Workers", "Cache"):
        assert f'- heading "{heading}' in tree
    assert f'rowheader "{scene.second.address}' in tree
    assert '- columnheader "State"' in tree
    assert scene.shown.page.evaluate(UNNAMED) == []
    live = scene.shown.page.locator("[aria-live], [role=status], [role=alert]")
    assert live.evaluate_all("(all) => all.map((one) => one.id)") == ["warnings-list"]


def test_a_daemon_that_is_gone_is_said_and_one_that_is_back_is_shown(browser: Browser) -> None:
    """As when `kubectl port-forward` breaks: the page says so, and goes on by itself."""
    daemon = Daemon("zones: [{zone: ., upstreams: ['192.0.2.53']}]")
    with ExitStack() as held:
        held.enter_context(daemon)
        with browser.opened(daemon.url) as shown:
            shown.wait_for("document.querySelector('#connection').innerText === 'live'")
            held.close()
            shown.wait_for("document.querySelector('#connection').innerText === 'not connected'")
            assert "Not connected" in shown.text("#warnings-list")
            assert "not connected" in shown.page.title()
            held.enter_context(daemon)
            shown.wait_for("document.querySelector('#connection').innerText === 'live'")
            assert "Not connected" not in shown.text("#warnings-list")


HOSTILE = (
    "<img src=x onerror=alert(1)>.example.",
    '"><script>alert(1)</script>.example.',
    "\\000\\001\\010\\013\\027[31m\\127.example.",
    "'; DROP TABLE names; --.example.",
    "&lt;b&gt;&amp;.example.",
    "\\226\\128\\174gnp.exe.example.",
    ".".join(["\\255" * 63] * 3 + ["\\255" * 61, ""]),
    "a" * 63 + "." + "b" * 63 + ".",
)


@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_are_text(browser: Browser, width: int) -> None:
    asked = [Asked(name, 1 / (place + 1)) for place, name in enumerate(HOSTILE)]
    figures = Figures(names=Names(1000, asked, asked, asked), conntrack=Conntrack(230_000, 262_144, 3, 0))
    figures.upstreams = {"[2001:db8:1234:5678:9abc:def0:1234:5678]:853@a-rather-long-name-of-a-resolver.dns.example.net": True}
    pages = ShownPages(figures)

    def visit(served: Served) -> None:
        served.look()
        addresses.append(f"http://127.0.0.1:{served.port}/")
        is_served.set()
        is_seen.wait(SECONDS)

    addresses: list[str] = []
    is_served, is_seen = threading.Event(), threading.Event()
    serving = threading.Thread(target=visited, args=(pages, visit))
    serving.start()
    try:
        assert is_served.wait(SECONDS)
        with browser.opened(addresses[0]) as shown:
            shown.resize(width)
            shown.wait_for("document.querySelectorAll('#top li').length > 1")
            for kind in ("top", "failing", "denied"):
                told = shown.page.locator(f"#{kind} .name").evaluate_all("(all) => all.map((one) => one.textContent)")
                assert told == list(HOSTILE)
            assert shown.page.locator("#top img, #top script, #top b").count() == 0
            shown.keep(f"names-{width}")
            assert shown.misplaced() == []
            assert shown.complaints == []
    finally:
        is_seen.set()
        serving.join()


def test_hostile_names_that_were_asked_for_are_text(scene: Scene) -> None:
    name = "<img\\032src=x\\032onerror=alert(1)>.\\000\\027[31m.example.test"
    for _ in range(300):
        ask(scene.daemon.server, query(name))
    top = "[...document.querySelectorAll('#top .name')].map((one) => one.textContent).find((name) => name.includes('<img'))"
    assert scene.shown.wait_for(top).endswith("\\000\\027[31m.example.test.")
    assert scene.shown.page.locator("main img").count() == 0


def test_names_that_nobody_looks_at_are_a_sentence(scene: Scene) -> None:
    has_names = scene.shown.page.evaluate("fetch('api/overview').then((got) => got.json()).then((all) => all.names !== null)")
    assert scene.shown.page.locator("#names-off").is_visible() is not has_names
    assert scene.shown.page.locator("#names-lists").is_visible() is has_names


def test_the_browser_had_nothing_to_complain_of(scene: Scene) -> None:
    """The last one: errors, warnings and refusals of the policy in all of the scenarios before."""
    assert scene.shown.complaints == []

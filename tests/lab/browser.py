"""A real browser: Debian's Chromium without a window, driven by Playwright; and a page in it that tells what went wrong.

Always holds: it starts with an empty profile and fetches nothing by itself; it ends with the `with`.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, sync_playwright

from tests.lab.needs import needs_program
from tests.lab.project import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
"""What the page looked like in the last run."""
_FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 15.0
"""Seconds; nothing that is waited for takes so long."""
POLL = 0.05
CHANGED = "([selector, before]) => { const now = document.querySelector(selector).innerText; return now !== before && now; }"

OVERLAPS = """() => {
  const seen = [...document.querySelectorAll("header > *, main > *, footer > *, .card > *, th, td, li, dt, dd, .pill, button")]
    .filter((one) => !one.closest(".unseen, .hint, thead") && one.getClientRects().length)
    .map((one) => [one, one.getBoundingClientRect()])
    .filter(([one, box]) => box.width > 1 && box.height > 1);
  const found = [];
  for (const [one, box] of seen) {
    if (box.left < -0.5 || box.right > innerWidth + 0.5) found.push(`${one.tagName}.${one.className} leaves the window`);
    for (const [other, its] of seen) {
      if (one === other || one.contains(other) || other.contains(one)) continue;
      const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (wide > 1 && high > 1) found.push(`${one.tagName} ${one.textContent} lies on ${other.tagName} ${other.textContent}`);
    }
    if (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflow === "visible" && one.clientWidth) {
      found.push(`${one.tagName} ${one.textContent} is too narrow for what is in it`);
    }
  }
  return found;
}"""
"""What lies on something else, leaves the window, or does not fit into its own box."""

FAINT = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const linear = (one) => (one <= 10 ? one / 3294 : ((one / 255 + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = [red, green, blue].map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    const colour = channels(getComputedStyle(one).backgroundColor);
    return (colour[3] ?? 1) === 1 || !one.parentElement ? colour : ground(one.parentElement);
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !one.getClientRects().length || one.closest(".unseen, noscript")) continue;
    const style = getComputedStyle(one);
    const ink = channels(one instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [luminance(ink), luminance(ground(one))].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize);
    const wanted = size >= 24 || (size >= 18.6 && Number(style.fontWeight) >= 600) ? 3 : 4.5;
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < wanted) found.push(`${one.tagName} ${one.textContent}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""
"""What is written too faintly (WCAG 2.2, 1.4.3): below 4.5 to 1, below 3 to 1 where it is large."""

Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One page in the browser."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    """Everything the browser complained of: errors, warnings, refusals of the content policy."""

    def resize(self, width: int, height: int = 900) -> None:
        """The window, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    def prefer(self, scheme: Scheme) -> None:
        """What the reader's system says."""
        self.page.emulate_media(color_scheme=scheme)

    def text(self, selector: str) -> str:
        """What stands there."""
        return self.page.locator(selector).inner_text()

    def wait_for(self, condition: str, argument: object = None) -> Any:  # noqa: ANN401 - whatever the script gives
        """The first true value of this JavaScript; Playwright's own way of waiting is among what the page's policy forbids."""
        until = time.monotonic() + PATIENCE
        while not (value := self.page.evaluate(condition, argument)):
            assert time.monotonic() < until, f"not after {PATIENCE} s: {condition}"
            time.sleep(POLL)
        return value

    def changed(self, selector: str, before: str | None = None) -> str:
        """The text there, once it is another."""
        before = self.text(selector) if before is None else before
        now: str = self.wait_for(CHANGED, [selector, before])
        return now

    def misplaced(self) -> list[str]:
        """What does not lie where it should."""
        found: list[str] = self.page.evaluate(OVERLAPS)
        width, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        return found + [f"scrolls sideways: {width} of {window}"] * (width > window)

    def keep(self, name: str) -> Path:
        """A picture of all of it, below SCREENSHOTS."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path


class Browser:
    """Chromium, running."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context

    @contextmanager
    def opened(self, url: str) -> Iterator[Shown]:
        """A page in a tab of its own, when it is loaded."""
        page = self._context.new_page()
        shown = Shown(page)

        def hear(message: ConsoleMessage) -> None:
            shown.complaints.append(f"{message.type}: {message.text}")

        def hear_out(dialog: Dialog) -> None:
            shown.complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", hear)
        page.on("pageerror", lambda error: shown.complaints.append(f"exception: {error}"))
        page.on("dialog", hear_out)
        page.set_default_timeout(PATIENCE * 1000)
        try:
            page.goto(url)
            yield shown
        finally:
            page.close()


@contextmanager
def browsing() -> Iterator[Browser]:
    """One browser; skips where there is none."""
    program = needs_program("chromium")
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, headless=True, chromium_sandbox=False, args=list(_FLAGS)
        )
        try:
            yield Browser(context)
        finally:
            context.close()

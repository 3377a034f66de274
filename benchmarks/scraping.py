"""A scraper: reads /metrics so many times a second, over one connection, as Prometheus does.

Always holds: a page that is not all there ends the measurement; scrapes that came late are made up for by none.
"""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.processes import BenchmarkError

TIMEOUT = 5.0
SIGN = b"forwarder_responses_total"
"""Of a page that has figures."""


@dataclass(slots=True)
class Scraper:
    """What came of it."""

    scrapes: int = 0
    problem: str = ""


@contextlib.contextmanager
def scraped(port: int, a_second: int) -> Iterator[Scraper]:
    """While this page is read. Raises BenchmarkError when it could not be."""
    scraper, ending = Scraper(), threading.Event()
    thread = threading.Thread(target=_scrape, args=(scraper, port, 1 / a_second, ending))
    thread.start()
    try:
        yield scraper
    finally:
        ending.set()
        thread.join()
    if scraper.problem:
        raise BenchmarkError(f"http://127.0.0.1:{port}/metrics: {scraper.problem}")


def _scrape(scraper: Scraper, port: int, interval: float, ending: threading.Event) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        due = time.monotonic()
        while not ending.wait(max(0.0, due - time.monotonic())):
            due = max(due + interval, time.monotonic())
            try:
                connection.request("GET", "/metrics")
                page = connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                scraper.problem = str(error) or type(error).__name__
                return
            if SIGN not in page:
                scraper.problem = f"no {SIGN.decode()} in {len(page)} octets"
                return
            scraper.scrapes += 1

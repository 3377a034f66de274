"""Figures as a person reads them in a terminal, and text that is safe there.

Pure. Always holds: what is written is printable ASCII, whatever is shown; a figure takes few characters, its unit beside it.
"""

import math

MINUTE, HOUR, DAY = 60, 3600, 86_400
FIRST_PRINTABLE, LAST_PRINTABLE = " ", "~"
NOTHING = "-"
"""In the place of a figure that there is not."""
_FEW = 10


def tame(text: str) -> str:
    r"""The text with everything that is no printable ASCII, and so could move the cursor or worse, as `\u001b` or the like."""
    return "".join(one if FIRST_PRINTABLE <= one <= LAST_PRINTABLE else f"\\u{ord(one):04x}" for one in text)


def counted(number: float) -> str:
    """`12,345,678`."""
    return f"{round(number):,}"


def rate(a_second: float) -> str:
    """`1,204/s`, `0.3/s`."""
    return f"{a_second:.1f}/s" if 0 < a_second < _FEW else f"{counted(a_second)}/s"


def ratio(share: float | None) -> str:
    """0 to 1 as `97.3 %`; what is not all is not shown as all."""
    if share is None:
        return NOTHING
    return f"{math.floor(share * 1000) / 10:.1f} %"


def duration(seconds: float | None) -> str:
    """How long an answer took: `8 us`, `0.4 ms`, `1.80 s`."""
    if seconds is None:
        return NOTHING
    if seconds < 1e-4:  # noqa: PLR2004 - below it milliseconds have too many zeros
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.2g} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"  # noqa: PLR2004 - two digits suffice
    return f"{seconds:.2f} s"


def span(seconds: float) -> str:
    """How long something runs: `45 s`, `12 min`, `3 h 12 min`, `5 d 3 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def mebioctets(octets: int) -> str:
    """`12.3 MiB`."""
    return f"{octets / (1 << 20):.1f} MiB"

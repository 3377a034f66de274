"""How grave a line is that the daemon says, as the journal tells lines apart (syslog(3), sd-daemon(3)).

The level is chosen where the line is made, and travels with it: `say(Notice("configuration reloaded"))`. Always holds: a line
that says nothing about its level is a warning, for that is what most are: something is not as it should be, DNS goes on.
"""

ERR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""LOG_ERR to LOG_INFO."""


class _Graded(str):
    """A line that knows its level; otherwise text like any other."""

    __slots__ = ()
    level = WARNING


class Err(_Graded):
    """Something does not work, and will not until somebody mends it."""

    __slots__ = ()
    level = ERR


class Notice(_Graded):
    """Something changed, as it was told to or by itself, and all is well."""

    __slots__ = ()
    level = NOTICE


class Info(_Graded):
    """Of use to who looks for the course of things."""

    __slots__ = ()
    level = INFO


def level_of(line: str) -> int:
    """Its level, 0 (the gravest) to 7."""
    return line.level if isinstance(line, _Graded) else WARNING

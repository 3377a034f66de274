"""`python -m forwarder.lookup`: the program behind `forwarder lookup`, which has read the command line.

    python -m forwarder.lookup NAME TYPE LIBC FILE SERVER FORM

TYPE, SERVER and FORM may be empty; FORM is `json` otherwise. Always holds: exit status 0 it was resolved, 1 it was not, 2 what
was typed, or the file, is wrong.
"""

import sys

from forwarder import terminal
from forwarder.errors import ConfigError
from forwarder.lookup.command import Request, look_up_and_tell

RESOLVED, NOT_RESOLVED, WRONG = 0, 1, 2


def main() -> int:
    """Look up as the words say; the exit status."""
    name, qtype, libc, file, server, form = sys.argv[1:]
    request = Request(name, qtype or None, libc, file, server or None)
    try:
        is_resolved = look_up_and_tell(request, terminal.show, terminal.say, in_json=form == "json")
    except ConfigError as error:
        for problem in error.problems:
            terminal.say(str(problem))
        return WRONG
    except KeyboardInterrupt:
        return NOT_RESOLVED  # typed before there was anything to tell
    return RESOLVED if is_resolved else NOT_RESOLVED


if __name__ == "__main__":
    sys.exit(main())

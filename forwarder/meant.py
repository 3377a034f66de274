"""Which running daemon a command means: the one of a configuration, the one at a socket, or the one that is here.

Always holds: every command that asks the daemon finds it the same way.
"""

import argparse
import os
from collections.abc import Sequence

from forwarder import config_file
from forwarder.control import protocol


def add_place(command: argparse.ArgumentParser) -> None:
    """The two options that say it."""
    where = command.add_mutually_exclusive_group()
    where.add_argument("--config", metavar="FILE")
    where.add_argument("--control", metavar="PATH")


def control_paths(config: str | None, control: str | None) -> Sequence[str]:
    """Where its control socket may be, by what these options say. Raises ConfigError."""
    setting = control or "auto"
    if config is not None:
        setting = config_file.load(config).observe.control
    return protocol.paths_for(setting, os.environ)

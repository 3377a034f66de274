"""The control socket: how a command speaks to the daemon that runs."""

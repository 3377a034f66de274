"""The six incidents that the daemon exists for, each played on a real kernel with real clients: without it, and with it.

One file each; its docstring tells the story, `docs/incidents.md` tells it to operators.
"""

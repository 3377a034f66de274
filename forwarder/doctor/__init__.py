"""`forwarder doctor`: why DNS is slow or wrong in this place, in plain words, each with its figure and its mend.

Three steps that can be taken apart. `gathering` looks at the host (`kernel` and `rules` read what it finds) and
has `trying` ask the servers (`planning`, `questions`); all of it becomes `facts`, which a file can hold. `judging` has the
checks of `about_*` make `findings` of the facts, from where the clients of this place stand (`perspective`). `telling` shows
them. Nothing here answers queries, and no worker imports it. It changes nothing on the host.
"""

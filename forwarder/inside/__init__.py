"""Looking into the daemon while it runs, from a terminal: what it does in figures, and what it remembers as a zone file.

The daemon is asked over its control socket (`control`); what it says is read, put into words and printed here. Never part of
the daemon. Always holds: whatever names, addresses and sentences came from there, nothing reaches the terminal but characters
that print.
"""

"""End-to-end scenarios: the daemon as an operator runs it, seen from outside, one story in each file.

No scenario measures time; where one waits it is for something that must come, or must not, within a generous bound.
"""

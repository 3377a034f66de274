"""End-to-end scenarios: the daemon as an operator runs it, seen from outside, one story in each file.

No scenario measures time, but where a time is what is promised; where one waits it is for something that must come, or must
not, within a generous bound. Those whose names begin with `test_load` count every query of a heavy load.
"""

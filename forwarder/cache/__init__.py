"""What we remember. Pure: `now` is an argument, seconds of a clock that also runs while the host sleeps.

A resumed VM must not serve yesterday's answers as fresh, so the worker reads CLOCK_BOOTTIME.
"""

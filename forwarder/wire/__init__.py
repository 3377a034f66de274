"""DNS messages as bytes: pure functions, bounded and iterative (RFC 9267 is the checklist).

Never does input or output, never reads a clock. Readers raise `WireError` or nothing.
"""

"""Messages in a stream: each behind its length in two octets (RFC 1035 section 4.2.2, RFC 7766 section 8).

Pure: octets in, whole messages out, however the stream was cut. Never holds more than one incomplete message, so never more
than 65,537 octets of it.
"""

from forwarder.errors import WireError

HEADER_SIZE = 12
"""Octets of a DNS header: a shorter message is none (RFC 1035 section 4.1.1)."""


def framed(message: bytes) -> bytes:
    """The message as it goes into a stream. At most 65,535 octets, which every writer of ours keeps to."""
    return len(message).to_bytes(2) + message


class Deframer:
    """Gathers the octets of one stream and hands out whole messages."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = b""

    def messages_in(self, data: bytes) -> list[bytes]:
        """The messages that these octets complete, in order; the rest is kept for the next call.

        Raises WireError when a length says that a message is shorter than a header: nobody who means DNS sends that.
        """
        if self._kept:
            data = self._kept + data
        messages: list[bytes] = []
        position = 0
        available = len(data)
        while available - position >= 2:  # noqa: PLR2004 - the length itself
            start = position + 2
            end = start + (data[position] << 8 | data[position + 1])
            if end - start < HEADER_SIZE:
                if messages:
                    break  # those ahead of it are good; the next call tells
                raise WireError("length below that of a DNS header")
            if end > available:
                break
            messages.append(data[start:end])
            position = end
        self._kept = data[position:]
        return messages

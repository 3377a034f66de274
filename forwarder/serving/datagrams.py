"""Many datagrams per system call: recvmmsg and sendmmsg, and the arrays of struct they work on (recvmmsg(2), sendmmsg(2)).

Addresses stay the octets that the kernel wrote, and are never turned into Python objects. For a socket bound to a wildcard
address the control data that tells which address was asked (IP_PKTINFO, IPV6_PKTINFO) goes back with the response, so that it
leaves from there. Linux on 64-bit machines only: the sizes of the structs are those of its ABI.

Always holds: a batch is used within one call of its owner and holds nothing between two; a datagram the kernel will not send
(port 0, an unreachable host) is left out, and those behind it are sent.
"""

import ctypes
import errno
import mmap
import select
import socket

BATCH = 64
"""Datagrams per system call: beyond it the saving per datagram is lost in the noise."""
HEADER = 64
"""sizeof(struct mmsghdr)."""
IOVEC = 16
ADDRESS = 32
"""Room for a sockaddr_in6 (28 octets), kept aligned."""
CONTROL = 64
"""Room for one in_pktinfo (28) or in6_pktinfo (36) with its header, aligned."""
ADDRESS_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28}
IFINDEX_AT = 16
"""Where ipi_ifindex stands in the control data of IPv4: cleared, so that routing picks the way back."""
LONGEST_WAIT = 0.005
"""Seconds to wait for room in a full send buffer before its datagrams are given up."""

# PyDLL: the calls do not block, so there is nothing to release the interpreter lock for.
_libc = ctypes.PyDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Datagrams:
    """A batch of datagrams: octets, addresses and control data, each at a place that follows from its number."""

    __slots__ = (
        "_control_sizes",
        "_descriptor",
        "_first",
        "_full_controls",
        "_full_sizes",
        "_headers",
        "_iovecs",
        "_lengths",
        "_size",
        "address_size",
        "addresses",
        "controls",
        "family",
        "octets",
        "sizes",
        "stride",
    )  # fmt: skip

    def __init__(self, endpoint: socket.socket, size: int, *, with_control: bool) -> None:
        """`size`: octets of the largest datagram, either way."""
        self._descriptor = endpoint.fileno()
        self._size = size
        self.family = endpoint.family
        self.address_size = ADDRESS_SIZES[socket.AddressFamily(endpoint.family)]
        self.stride = (size // 64 + 2) * 64
        """Octets from one datagram's place to the next; no power of two, which would put all into one set of the CPU's
        cache."""
        if self.stride % 1024 == 0:
            self.stride += 64
        self.octets = mmap.mmap(-1, BATCH * self.stride)
        self.addresses = mmap.mmap(-1, BATCH * ADDRESS)
        self.controls = mmap.mmap(-1, BATCH * CONTROL) if with_control else None
        self._headers = mmap.mmap(-1, BATCH * HEADER)
        self._iovecs = mmap.mmap(-1, BATCH * IOVEC)
        self._full_sizes = memoryview(bytes(size.to_bytes(8, "little") * BATCH)).cast("Q")
        self._full_controls = memoryview(bytes(CONTROL.to_bytes(8, "little") * BATCH)).cast("Q")
        self.sizes = memoryview(self._iovecs).cast("Q")[1::2]
        """Octets to send from each place; to be set before `send`, reset by it."""
        self._control_sizes = memoryview(self._headers).cast("Q")[5::8]
        self._lengths = memoryview(self._headers).cast("I")[14::16]
        self._first = self._lay_out()

    def receive(self) -> list[int]:
        """The sizes of the datagrams that were waiting, at most BATCH; they stand at places 0, 1, ..."""
        count = _recvmmsg(self._descriptor, self._first, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        received: list[int] = self._lengths[:count].tolist()
        return received

    def send(self, first: int, count: int) -> None:
        """Send the datagrams at `count` places from `first` on, each to its address, `sizes` octets of it."""
        position, end = first, first + count
        has_waited = False
        while position < end:
            sent = _sendmmsg(self._descriptor, self._first + HEADER * position, end - position, socket.MSG_DONTWAIT)
            if sent > 0:
                position += sent
            elif not has_waited and ctypes.get_errno() in {errno.EAGAIN, errno.ENOBUFS}:
                has_waited = True
                select.select([], [self._descriptor], [], LONGEST_WAIT)
            else:
                position += 1

    def reset(self, count: int) -> None:
        """Make the first `count` places ready to receive again."""
        self.sizes[:count] = self._full_sizes[:count]
        if self.controls is not None:
            self._control_sizes[:count] = self._full_controls[:count]

    def peer(self, place: int) -> tuple[bytes, bytes]:
        """Whom a datagram came from: its address as the kernel has it, and the control data to reply with."""
        start = place * ADDRESS
        address = self.addresses[start : start + self.address_size]
        if self.controls is None:
            return address, b""
        start = place * CONTROL
        return address, self.controls[start : start + self._control_sizes[place]]

    def written_over(self, place: int, most: int) -> bytes:
        """What was written over a datagram received to be sent, its first `most` octets; none where nothing was.

        None as well where it is as large as a datagram may be: the size of a place is that until something is written.
        """
        size = self.sizes[place]
        start = place * self.stride
        return b"" if size == self._size else self.octets[start : start + min(size, most)]

    def put(self, replies: list[tuple[tuple[bytes, bytes], bytes]]) -> None:
        """Lay datagrams out for `send`, from place 0 on: for each whom it goes to, as `peer` had it, and its octets."""
        octets, addresses, sizes, address_size = self.octets, self.addresses, self.sizes, self.address_size
        start = at = 0
        for place, ((address, control), message) in enumerate(replies):
            size = len(message)
            octets[start : start + size] = message
            sizes[place] = size
            addresses[at : at + address_size] = address
            if self.controls is not None:
                self._put_control(place, control)
            start += self.stride
            at += ADDRESS

    def _put_control(self, place: int, control: bytes) -> None:
        start = place * CONTROL
        if self.controls is not None:
            self.controls[start : start + len(control)] = control
            self._control_sizes[place] = len(control)

    def forget_interfaces(self, count: int) -> None:
        """For a wildcard IPv4 socket: let routing choose the interface of the first `count` responses."""
        if self.controls is not None and self.family == socket.AF_INET:
            for place in range(count):
                start = place * CONTROL + IFINDEX_AT
                self.controls[start : start + 4] = b"\0\0\0\0"

    def _lay_out(self) -> int:
        """Point the structs at their octets; returns the address of the first header."""
        octets, addresses, headers, iovecs = map(_address_of, (self.octets, self.addresses, self._headers, self._iovecs))
        controls = _address_of(self.controls) if self.controls is not None else 0
        pointers = memoryview(self._iovecs).cast("Q")
        fields = memoryview(self._headers).cast("Q")
        for place in range(BATCH):
            pointers[2 * place] = octets + place * self.stride
            fields[8 * place] = addresses + place * ADDRESS
            fields[8 * place + 1] = self.address_size
            fields[8 * place + 2] = iovecs + place * IOVEC
            fields[8 * place + 3] = 1
            fields[8 * place + 4] = controls + place * CONTROL if controls else 0
        self.reset(BATCH)
        return headers


def _address_of(memory: mmap.mmap) -> int:
    """Where a map begins. It stays there for as long as it lives: a map with an exported buffer cannot be resized."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))

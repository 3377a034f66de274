"""Small questions of our own: a free port, the first answer of a server that has just been started, its /metrics.

Only ever sends to 127.0.0.1, and gives up after a fixed time.
"""

import contextlib
import http.client
import re
import socket
import subprocess
import time
from pathlib import Path

from benchmarks import questions
from benchmarks.processes import BenchmarkError

POLL_SECONDS = 0.002
START_SECONDS = 10.0
"""A server that has not answered by then is broken, not slow: the slowest needs half a second."""
ANSWER_SIZE = 4096
SAMPLE = re.compile(r"^(?P<name>\w+(?:\{[^}]*\})?) (?P<value>[-+.eE\d]+)$", re.MULTILINE)


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and for TCP at this moment."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with contextlib.suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                return port
    raise BenchmarkError("no port of 127.0.0.1 is free for both UDP and TCP")


def first_answer(port: int, process: subprocess.Popen[bytes], log: Path, *, since: float | None = None) -> float:
    """Seconds from `since` (monotonic; now when left out) to the first answer, asked for every POLL_SECONDS."""
    begun = time.monotonic() if since is None else since
    query = questions.query(questions.PROBE_NAME, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(POLL_SECONDS)
        while time.monotonic() - begun < START_SECONDS:
            if process.poll() is not None:
                break
            polled = time.monotonic()
            # Nobody listens yet (refused) or nobody answers yet (timed out): both mean ask again.
            with contextlib.suppress(OSError):
                probe.send(query)
                probe.recv(ANSWER_SIZE)
                return time.monotonic() - begun
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - polled)))
    status = process.poll()
    fate = f"no answer within {START_SECONDS:.0f} s" if status is None else f"it ended with status {status}"
    said = log.read_text(errors="replace").strip()[-1500:]
    raise BenchmarkError(f"server on 127.0.0.1:{port}: {fate}; it was {process.args!r} and said:\n{said}")


def metrics(port: int) -> dict[str, float]:
    """A scrape of /metrics: `name{labels}` -> value."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError as error:
        raise BenchmarkError(f"http://127.0.0.1:{port}/metrics: {error}") from error
    finally:
        connection.close()
    return {match["name"]: float(match["value"]) for match in SAMPLE.finditer(text)}

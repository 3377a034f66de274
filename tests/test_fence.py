"""What a worker can do behind the fence and what it cannot; each in a process of its own, for there is no way back."""

import errno
import json
import os
from pathlib import Path

import pytest

from tests.lab.apart import printed
from tests.lab.status import SETS, capabilities_in, status_of

SHUT = """
import ctypes, errno, json, os, socket, sys, traceback
from forwarder import fence
from tests.lab.status import capabilities_in, field_in, status_of
def outcome(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
def calls(answer):
    'Play a kernel: what it refuses.'
    real = fence._libc.syscall
    class Kernel:
        def syscall(self, number, *rest):
            refused = answer(number.value, rest)
            if refused:
                ctypes.set_errno(refused)
                return -1
            return real(number, *rest)
    fence._libc = Kernel()
"""


def behind(actions: str, *arguments: str, removable: str = "") -> list[str]:
    """What becomes of these actions (a list of lambdas) behind the fence."""
    program = f"{SHUT}assert fence.shut({removable}) == ''\nprint(json.dumps([outcome(act) for act in [{actions}]]))"
    found: list[str] = json.loads(printed(program, *arguments))
    return found


def test_nothing_is_left_to_be_used() -> None:
    program = f"""{SHUT}
with open("/proc/self/status") as status:
    assert fence.shut() == ""
    text = status.read()
print(json.dumps([capabilities_in(text), field_in(text, "NoNewPrivs")]))
"""
    expected = dict.fromkeys(SETS, 0)
    if os.geteuid() != 0:
        expected["CapBnd"] = capabilities_in(status_of("self"))["CapBnd"]  # to empty it takes CAP_SETPCAP
    assert json.loads(printed(program)) == [expected, "1"]


def test_files_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("left alone")
    (tmp_path / "directory").mkdir()
    actions = (
        "lambda: open('/etc/passwd'), lambda: os.listdir('/'), lambda: os.execv(sys.executable, ['python', '-c', ''])",
        "lambda: open(f'{sys.argv[1]}/file', 'r+'), lambda: open(f'{sys.argv[1]}/other', 'w')",
        "lambda: os.truncate(f'{sys.argv[1]}/file', 0), lambda: os.mkdir(f'{sys.argv[1]}/more')",
        "lambda: os.unlink(f'{sys.argv[1]}/file'), lambda: os.rmdir(f'{sys.argv[1]}/directory')",
        "lambda: os.rename(f'{sys.argv[1]}/file', f'{sys.argv[1]}/renamed'), lambda: os.symlink('/', f'{sys.argv[1]}/link')",
        "lambda: socket.socket(socket.AF_UNIX).bind(f'{sys.argv[1]}/socket'), lambda: os.mkfifo(f'{sys.argv[1]}/fifo')",
    )
    assert behind(", ".join(actions), str(tmp_path)) == ["EACCES"] * 13
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]
    assert (tmp_path / "file").read_text() == "left alone"


def test_only_the_control_socket_and_its_directory_can_be_removed(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for directory in (run / "forwarder", elsewhere):
        directory.mkdir(parents=True)
        (directory / "file").touch()
    (run / "file").touch()
    actions = (
        "lambda: os.unlink(f'{sys.argv[1]}/file'), lambda: open(f'{sys.argv[2]}/file')",
        "lambda: os.unlink(f'{sys.argv[2]}/file'), lambda: os.rmdir(sys.argv[2])",
        "lambda: os.unlink(f'{sys.argv[3]}/file'), lambda: os.rmdir(sys.argv[3])",
    )
    found = behind(", ".join(actions), *map(str, (run, run / "forwarder", elsewhere)), removable="sys.argv[2], sys.argv[1]")
    assert found == ["EACCES", "EACCES", "done", "done", "EACCES", "EACCES"]


def test_a_directory_that_is_not_there_hinders_nothing() -> None:
    assert behind("lambda: open('/etc/passwd')", removable="'/nowhere/at/all', '/nowhere'") == ["EACCES"]


def test_the_network_is_open_but_for_tcp_listeners_and_abstract_sockets() -> None:
    program = f"""{SHUT}
listener = socket.create_server(("127.0.0.1", 0))
abstract = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
abstract.bind("\\0forwarder-" + str(os.getpid()))
abstract.listen()
theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
assert fence.shut() == ""
def exchange():
    with socket.socket() as client:
        client.connect(listener.getsockname())
        served, _ = listener.accept()
        served.send(b"over TCP")
        assert client.recv(10) == b"over TCP"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        door.bind(("127.0.0.1", 0))
        client.connect(door.getsockname())
        client.send(b"over UDP")
        assert door.recv(10) == b"over UDP"
    theirs.send(b"over the link")
    assert ours.recv(20) == b"over the link"
def listen():
    socket.create_server(("127.0.0.1", 0))
def connect():
    socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(abstract.getsockname())
print(json.dumps([outcome(act) for act in (exchange, listen, connect)]))
"""
    assert json.loads(printed(program)) == ["done", "EACCES", "EPERM"]


def test_memory_files_and_randomness_are_as_before() -> None:
    program = f"""{SHUT}
before = os.memfd_create("before")
assert fence.shut() == ""
after = os.memfd_create("after")
for memory in (before, after):
    os.ftruncate(memory, 8)
    os.pwrite(memory, b"snapshot", 0)
    assert os.pread(memory, 8, 0) == b"snapshot"
assert len(os.urandom(16)) == len(os.getrandom(16)) == 16
print("as before")
"""
    assert printed(program) == "as before"


def test_no_signal_leaves_but_our_own_reaches_us() -> None:
    assert behind("lambda: os.kill(os.getppid(), 0), lambda: os.kill(1, 0), lambda: os.kill(os.getpid(), 0)") == [
        "EPERM",
        "EPERM",
        "done",
    ]


def test_a_traceback_lacks_the_lines_of_the_source_alone(tmp_path: Path) -> None:
    source = tmp_path / "faulty.py"
    source.write_text("def fail():\n    return 1 // 0  # here\n")
    program = f"""{SHUT}
sys.path.insert(0, sys.argv[1])
import faulty
fence.shut()
try:
    faulty.fail()
except ZeroDivisionError:
    print(traceback.format_exc())
"""
    text = printed(program, str(tmp_path))
    assert f'File "{source}", line 2, in fail' in text
    assert text.endswith("ZeroDivisionError: integer division or modulo by zero")
    assert "# here" not in text


@pytest.mark.parametrize("refusal", ["ENOSYS", "EOPNOTSUPP"])
def test_a_kernel_without_landlock_is_said_and_the_rest_is_given_up(refusal: str) -> None:
    program = f"{SHUT}calls(lambda number, rest: errno.{refusal} if number == fence.CREATE_RULESET else 0)\n"
    program += "sentence, now = fence.shut('/run'), status_of('self')\n"
    program += "print(json.dumps([sentence, capabilities_in(now)['CapEff'], field_in(now, 'NoNewPrivs')]))"
    sentence, effective, no_new = json.loads(printed(program))
    assert sentence.startswith(
        f"there is no fence between workers and files, the kernel has no Landlock ({os.strerror(getattr(errno, refusal))}): "
    )
    assert (effective, no_new) == (0, "1")


def test_a_sandbox_that_forbids_it_is_said() -> None:
    program = f"{SHUT}from forwarder import capabilities\n"
    program += "def refuse(*_): raise PermissionError(1, 'Operation not permitted')\n"
    program += "capabilities.prctl = refuse\nprint(fence.shut())"
    assert printed(program).startswith("workers keep the privileges they have (Operation not permitted): ")


@pytest.mark.parametrize(
    ("version", "files", "net", "scope"),
    [(1, 13, 0, 0), (2, 14, 0, 0), (3, 15, 0, 0), (4, 15, 1, 0), (5, 16, 1, 0), (6, 16, 1, 3), (9, 16, 1, 3)],
)
def test_each_version_of_landlock_is_asked_for_what_it_knows(version: int, files: int, net: int, scope: int) -> None:
    program = f"""{SHUT}
import struct
asked = []
class Kernel:
    def syscall(self, number, *rest):
        if number.value == fence.CREATE_RULESET:
            if rest[0] is None:
                return {version}
            asked.extend(struct.unpack("=QQQ", rest[0]))
            return os.open("/dev/null", os.O_RDONLY)
        return 0
fence._libc = Kernel()
assert fence.shut() == ""
print(*asked)
"""
    assert printed(program) == f"{(1 << files) - 1} {net} {scope}"

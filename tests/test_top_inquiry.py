"""Top's conversation: one for many questions, begun anew when the other end is gone."""

import socket
from pathlib import Path

import pytest

from forwarder.control import protocol
from forwarder.errors import ControlError
from forwarder.inside import seen
from forwarder.top.inquiry import Inquiry
from tests.lab.conversation import one_conversation
from tests.lab.moments import moment


class Answering:
    """A daemon that says so many times the same, and goes."""

    def __init__(self, times: int, response: protocol.Response) -> None:
        self.times = times
        self.octets = protocol.written(response)

    def __call__(self, connection: socket.socket) -> None:
        for _ in range(self.times):
            assert protocol.read_request(connection.recv(protocol.MAX_REQUEST)) == seen.REQUEST
            connection.send(self.octets)


def test_one_question_after_the_other_then_with_whoever_came_instead(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    inquiry = Inquiry([str(path)])
    with one_conversation(path, Answering(2, protocol.shown(moment()))):
        assert [inquiry.ask(), inquiry.ask()] == [moment()] * 2
    path.unlink()
    with pytest.raises(ControlError, match="no daemon listens"):
        inquiry.ask()
    with one_conversation(path, Answering(1, protocol.shown(moment(more=5)))):
        assert inquiry.ask() == moment(more=5)
    path.unlink()
    with one_conversation(path, Answering(1, protocol.shown(moment(more=7)))):
        assert inquiry.ask() == moment(more=7), "without a question that fails"
    inquiry.close()


def test_a_daemon_that_refuses_says_why(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    inquiry = Inquiry([str(path)])
    with one_conversation(path, Answering(1, protocol.Refused("it will not"))), pytest.raises(ControlError, match="will not"):
        inquiry.ask()
    inquiry.close()

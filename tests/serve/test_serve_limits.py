"""The limits of the local server, over real connections: no client can shut out the others."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from textlrp.serve.worker import SUPERSEDED, Job, JobQueue

pytest.importorskip("uvicorn", reason="needs uvicorn (pip install 'textlrp[serve]')")

#: Short, so that the tests are.
LIMITS = {"connections": 20, "waiting": 2, "receive": 0.8, "idle": 0.6, "send": 0.8, "head": 4096}


class Server:
    """A server in a process of its own, spoken to in bytes."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        parts = urlsplit(address)
        self.port, self.query = parts.port, parts.query
        self.host = f"Host: 127.0.0.1:{parts.port}\r\n"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port or 0), timeout=15)

    def page(self) -> str:
        return f"GET /?{self.query} HTTP/1.1\r\n{self.host}\r\n"

    def question(self, text: str, page: str, model: int = 0) -> str:
        body = json.dumps({"text": text, "page": page, "model": model})
        return f"POST /explain?{self.query} HTTP/1.1\r\n{self.host}Content-Length: {len(body)}\r\n\r\n{body}"

    def ask(self, request: str) -> tuple[int, str]:
        """Send a request, wait until the connection is closed, and return status and body."""
        with self.connect() as connection:
            connection.sendall(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).encode())
            return answer(connection)


def answer(connection: socket.socket) -> tuple[int, str]:
    """What comes until the connection is closed: the status, 0 where there is no answer, and the body."""
    read = b""
    while part := connection.recv(65536):
        read += part
    if not read:
        return 0, ""
    head, _, body = read.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@contextmanager
def serving(**limits: Any) -> Iterator[Server]:
    program = [sys.executable, str(Path(__file__).parents[1] / "served_models.py"), json.dumps({**LIMITS, **limits})]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def left(connection: socket.socket, sent: bytes) -> bool:
    """Whether the other end goes away while bytes are sent to it, one after the other."""
    for _ in range(60):
        try:
            connection.sendall(sent)
        except OSError:
            return True
        time.sleep(0.1)
    return False


LATE = '{"error": "this request did not arrive whole within 0.8 seconds: send it again"}'


@pytest.mark.parametrize(
    "part",
    [
        "GET",
        "GET /?to",
        "GET / HTTP/1.1\r\nHost: 127",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y\r\n",
        "{half a body}",
        "{half a chunk}",
    ],
)
def test_half_a_request_has_a_time_limit(server: Server, part: str) -> None:
    head = f"POST /explain?{server.query} HTTP/1.1\r\n{server.host}"
    sent = {
        "{half a body}": f'{head}Content-Length: 99\r\n\r\n{{"text": "go',
        "{half a chunk}": f"{head}Transfer-Encoding: chunked\r\n\r\nff\r\n{{",
    }.get(part, part)
    with server.connect() as connection:
        began = time.monotonic()
        connection.sendall(sent.encode())
        assert answer(connection) == (408, LATE)
        assert 0.5 < time.monotonic() - began < 15


def test_a_byte_now_and_then_does_not_extend_it(server: Server) -> None:
    with server.connect() as connection:
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert left(connection, b"y")
        assert time.monotonic() - began < 15


def test_a_second_request_of_a_connection_has_the_limit_too(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(server.page().encode())
        while b"</html>" not in connection.recv(65536):
            pass
        connection.sendall(b"GET / HT")
        assert answer(connection) == (408, LATE)


def test_idle_connections_are_closed_without_a_word(server: Server) -> None:
    with server.connect() as new, server.connect() as used:
        used.sendall(server.page().encode())
        status, body = answer(used)
        assert (status, body.rstrip()[-7:]) == (200, "</html>")
        assert answer(new) == (0, "")


def test_who_takes_nothing_of_an_answer_is_left(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall((server.page() * 200).encode())  # more than the system keeps for those who do not read
        began = time.monotonic()
        assert left(connection, b"\r\n")
        assert 0.5 < time.monotonic() - began < 15


def test_a_head_may_be_long_but_not_too_long(server: Server) -> None:
    assert server.ask(f"GET /?{server.query} HTTP/1.1\r\n{server.host}X: {'y' * 3000}\r\n\r\n")[0] == 200
    for head in (f"X: {'y' * 9000}\r\n", "X: y\r\n" * 2000):
        status, body = server.ask(f"GET /?{server.query} HTTP/1.1\r\n{server.host}{head}\r\n")
        assert status == 431
        assert json.loads(body) == {"error": "the head of this request is too long: it may have 4,096 bytes"}


@pytest.mark.parametrize(
    "sent", ["hello\r\n\r\n", "GET / HTTP/9\r\n\r\n", "\x16\x03\x01\r\n\r\n", "GET /\r\nHost: x\r\n\r\n"]
)
def test_what_is_no_request_is_a_sentence(server: Server, sent: str) -> None:
    with server.connect() as connection:
        connection.sendall(sent.encode())
        assert answer(connection) == (400, '{"error": "this is no request of HTTP/1.1"}')


def test_two_hundred_half_requests_shut_nobody_out() -> None:
    with serving(receive=30, connections=64) as server, ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(200)]
        for i, connection in enumerate(slow):
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nX: " if i % 2 else b"P")
            except OSError:
                assert i < 200 - 64  # a newcomer took its place
        for _ in range(5):
            began = time.monotonic()
            status, body = server.ask(server.question("a good film", "mine"))
            assert (status, "html" in body) == (200, True)
            assert time.monotonic() - began < 3


def test_where_all_are_at_work_a_newcomer_is_told_so() -> None:
    with serving(connections=2, receive=10) as server, server.connect() as one, server.connect() as two:
        for name, connection in (("a", one), ("b", two)):
            connection.sendall(server.question("x", name, model=1).encode())
        time.sleep(0.5)
        with server.connect() as third:
            busy = '{"error": "too many connections are open here: try again in a moment"}'
            assert answer(third) == (503, busy)
        assert answer(one)[0] == answer(two)[0] == 200


def test_the_queue_is_bounded_and_a_page_keeps_its_place() -> None:
    with serving(receive=10, idle=0.3) as server, ExitStack() as stack:
        asking = {}
        for name in ("at work", "first", "second"):
            asking[name] = stack.enter_context(server.connect())
            asking[name].sendall(server.question("x", name, model=1).encode())
            time.sleep(0.3)
        status, body = server.ask(server.question("x", "third"))
        assert (status, json.loads(body)) == (
            503,
            {"error": "too many texts are waiting to be explained: try again in a moment"},
        )
        status, body = server.ask(server.question("x", "second"))  # in the place of its older question
        assert (status, "html" in body) == (200, True)
        assert "superseded" in answer(asking["second"])[1]
        assert "html" in answer(asking["first"])[1]


def test_a_full_queue_refuses_jobs() -> None:
    told: dict[str, list[Any]] = {}
    jobs = JobQueue(places=2)

    def job(page: str) -> Job:
        return Job(page, lambda: time.sleep(0.3) or {"name": page}, told.setdefault(page, []).append)  # type: ignore[func-returns-value]

    first = job("a")
    assert jobs.submit(first)
    time.sleep(0.1)
    assert [jobs.submit(job(page)) for page in "bcdb"] == [True, True, False, True]
    jobs.close()
    assert told["d"] == []
    assert told["c"] == [SUPERSEDED]


def test_ctrl_c_ends_it_with_open_connections_and_an_explanation_at_work() -> None:
    with serving(receive=60, idle=60) as server, ExitStack() as stack:
        sent = ["", "GET / HT", server.page(), server.question("stuck", "a"), server.question("x", "b", model=1)]
        sent.append(f"POST /explain?{server.query} HTTP/1.1\r\n{server.host}Content-Length: 99\r\n\r\n{{")
        for request in sent:
            stack.enter_context(server.connect()).sendall(request.encode())
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        out, error = server.process.communicate(timeout=10)
        assert (server.process.returncode, out, error) == (0, "", "")
        assert time.monotonic() - began < 3

"""A connection to the local server that takes no more than it may.

uvicorn waits without end for a request that was begun and is not finished, and for a visitor who does not read the
answer; its own limit of connections shuts everybody out once some of them idle. Here a request has a time limit as a
whole, so that a byte now and then does not extend it, and a newcomer takes the place of the connection that has been
without a whole request for the longest.
"""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from textlrp.serve.guard import CLOSED, HEADERS
from textlrp.serve.limits import Limits

_HEAD_END = re.compile(rb"\n\r?\n")


def protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return what uvicorn makes a connection of: a class that knows the limits and the other connections."""
    connections: list[Connection] = []

    class Limited(Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(limits, connections, *args, **options)

    return Limited


class Connection(H11Protocol):
    """A connection that is closed, with an answer where something was asked, when it takes more than it may.

    Args:
        limits: what it may take.
        connections: all that are open, the oldest first; it adds itself.
        args, options: what uvicorn gives its own class.
    """

    def __init__(self, limits: Limits, connections: list[Connection], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits, self._connections = limits, connections
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no whole request is at work here."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here that was not answered."""
        halfway = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        return halfway or bool(self.conn.trailing_data[0])

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connections.append(self)
        self._receiving = self.loop.call_later(self._limits.receive, self._too_slow)
        if len(self._connections) > self._limits.connections:
            oldest = next(each for each in self._connections if each.idle)  # itself, where all others are at work
            oldest.leave(503, "too many connections are open here: try again in a moment", oldest is self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._receiving is None and self.idle:
            self._receiving = self.loop.call_later(self._limits.receive, self._too_slow)
        between = self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)
        if between and self._head(data) > self._limits.head:
            self.leave(431, f"the head of this request is too long: it may have {self._limits.head:,} bytes", True)
            return
        super().data_received(data)
        if not self.idle:
            self._received()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.begun:
            self._received()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(self._limits.send, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def send_400_response(self, msg: str) -> None:
        self.leave(400, "this is no request of HTTP/1.1", True)

    def leave(self, status: int, sentence: str, said: bool | None = None) -> None:
        """Close the connection; say why where a request was begun, or as ``said`` has it."""
        self._forget()
        if self.transport.is_closing():
            return
        answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not answered and (self.begun if said is None else said):
            self.transport.write(_answer(status, sentence))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _head(self, data: bytes) -> int:
        """How many bytes a request's head has, as far as it is here."""
        read = self.conn.trailing_data[0] + data
        end = _HEAD_END.search(read)
        return end.end() if end else len(read)

    def _too_slow(self) -> None:
        self.leave(408, f"this request did not arrive whole within {self._limits.receive:g} seconds: send it again")

    def _received(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _forget(self) -> None:
        if self in self._connections:
            self._connections.remove(self)
        self._received()
        if self._sending is not None:
            self._sending.cancel()


def _answer(status: int, sentence: str) -> bytes:
    body = json.dumps({"error": sentence}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    headers |= {"content-security-policy": CLOSED, **HEADERS}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body

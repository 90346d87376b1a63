"""A connection to the local server, with limits.

uvicorn waits forever for the rest of a request, and for a client that does not read the answer. Its own limit of
connections shuts out all new clients when some connections are idle. Here a request as a whole has a time limit, which
slow bytes do not extend, and a new connection takes the place of the oldest idle one.
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
    """Return the class of uvicorn's connections, which knows the limits and the other connections."""
    connections: list[Connection] = []

    class Limited(Connection):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(limits, connections, *args, **options)

    return Limited


class Connection(H11Protocol):
    """A connection that is closed when it exceeds a limit, with an answer if a request was begun.

    Args:
        limits: the limits.
        connections: all open connections, the oldest first; it adds itself.
        args, options: the arguments of uvicorn's own class.
    """

    def __init__(self, limits: Limits, connections: list[Connection], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits, self._connections = limits, connections
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no complete request is being answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def begun(self) -> bool:
        """Whether a request was begun and not answered."""
        halfway = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        return halfway or bool(self.conn.trailing_data[0])

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connections.append(self)
        self._receiving = self.loop.call_later(self._limits.receive, self._too_slow)
        if len(self._connections) > self._limits.connections:
            oldest = next(other for other in self._connections if other.idle)  # this one, if all others are busy
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
        """Close the connection; answer with a sentence if ``said`` is true, by default if a request was begun."""
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
        """Return the number of bytes of a request's head that have arrived."""
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

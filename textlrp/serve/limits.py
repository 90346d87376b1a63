"""What a visitor may take of the local server: time, connections, bytes and places in the queue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Attributes:
        connections: how many there may be at a time.
        waiting: how many texts may wait to be explained.
        receive: seconds that a request may take to arrive, from the first byte of its head to the last of its body;
            that of a new connection, from its beginning.
        idle: seconds that a connection is kept after an answer.
        send: seconds that an answer waits for a visitor who takes nothing of it.
        head: the most bytes of a request's line and headers together.
    """

    connections: int = 64
    waiting: int = 32
    receive: float = 20.0
    idle: float = 5.0
    send: float = 30.0
    head: int = 16_384

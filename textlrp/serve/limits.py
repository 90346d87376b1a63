"""The limits of the local server: time, connections, bytes and waiting texts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        connections: the most connections at a time.
        waiting: the most texts that wait to be explained.
        receive: the seconds in which a request must arrive, from its first byte to its last; on a new connection, they
            begin with the connection.
        idle: the seconds that a connection is kept after an answer.
        send: the seconds that an answer waits for a client that reads nothing of it.
        head: the most bytes of a request's line and headers together.
    """

    connections: int = 64
    waiting: int = 32
    receive: float = 20.0
    idle: float = 5.0
    send: float = 30.0
    head: int = 16_384

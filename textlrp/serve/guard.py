"""Lets only the server's own page in: on this machine, by the address and the token that were printed."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Headers of every answer, beside its Content-Security-Policy.
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

#: The policy of answers that are not pages.
CLOSED = "default-src 'none'; frame-ancestors 'none'"


class Guard:
    """Passes on requests that have the right host, origin and token, and refuses all others with a sentence.

    Another page can make a browser send requests here. But it does not know the token; its requests have its own
    Origin; and if it points its own name at this machine (DNS rebinding), they have that name as the Host.

    Args:
        application: the ASGI application behind it.
        token: the secret of this run, as ``?token=`` of an address or as ``Authorization: Bearer``.
        hosts: the names of this server, with port: ``127.0.0.1:8000``, ``localhost:8000``.
    """

    def __init__(self, application: Application, token: str, hosts: Iterable[str]) -> None:
        self._application = application
        self._token = token.encode()
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", [])}
                added = {"content-security-policy": CLOSED, **HEADERS}
                message["headers"] = [
                    *message.get("headers", []),
                    *((n.encode(), v.encode()) for n, v in added.items() if n.encode() not in given),
                ]
            await send(message)

        await self._application(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421, f"this server is named {' or '.join(sorted(self._hosts))}: open the address that it printed"
        if any(origin not in {f"http://{host}" for host in self._hosts} for origin in headers.get("origin", [])):
            return 403, "this request comes from another page, and only the page of textlrp serve is answered"
        navigated = headers.get("sec-fetch-mode") == ["navigate"]  # the user followed a link, in a notebook for example
        if not navigated and not set(headers.get("sec-fetch-site", [])) <= {"same-origin", "none"}:
            return 403, "this request comes from another page, and only the page of textlrp serve is answered"
        if not self._known(scope, headers):
            return 403, "this address has no token: open the whole address that textlrp serve printed"
        return None

    def _known(self, scope: Scope, headers: Mapping[str, list[str]]) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        given += [v.removeprefix("Bearer ") for v in headers.get("authorization", []) if v.startswith("Bearer ")]
        return len(given) == 1 and secrets.compare_digest(given[0].encode(), self._token)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = f"{sentence[0].upper()}{sentence[1:]}.\n".encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), "connection": "close"}
    headers |= {"content-security-policy": CLOSED, **HEADERS}
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})

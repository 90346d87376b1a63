"""A local page to type a text into and see the explanation as you go."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textlrp.basics import options
from textlrp.errors import InputError
from textlrp.render import page as webpage
from textlrp.results.explanation import Explanation
from textlrp.results.grouping import UNITS
from textlrp.rules import PRESETS, Rules
from textlrp.serve import page as serve_page
from textlrp.serve.guard import Application, Guard
from textlrp.serve.limits import Limits
from textlrp.serve.worker import Desk, Job, Message

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from textlrp.explain.explainer import Explainer

#: The only address that is listened at: nobody else on the network may ask.
HOST = "127.0.0.1"

#: The most bytes of a request.
LIMIT = 5_000_000

#: How many explanations are kept for download.
KEPT = 20

_MISSING = 'textlrp serve needs starlette and uvicorn: pip install "textlrp[serve]"'
_BUSY = "too many texts wait to be explained: try again in a moment"
# Seconds between two looks at whether a page still waits for its answer.
_LOOK = 0.5
# Characters of a page's name, which it makes up.
_NAME = 100
# Seconds that the end of the server waits for what is at work.
_PATIENCE = 0.3


@dataclass(frozen=True)
class Model:
    """A model that the page offers.

    Attributes:
        name: what the page calls it.
        labels: what it tells apart.
        explain: takes a text and a text pair, and by name ``target``, ``contrast``, ``rules`` and ``long``.
    """

    name: str
    labels: tuple[str, ...]
    explain: Callable[..., Explanation]

    @classmethod
    def of(cls, explainer: Explainer) -> Model:
        """Offer an explainer."""
        outputs = getattr(explainer.config, "num_labels", None) or 0
        labels = explainer.head.labels(outputs) if outputs else explainer.head.names or ()
        return cls(explainer.name, labels, explainer.explain)


@dataclass(frozen=True)
class Question:
    """What a page asks for.

    Attributes:
        page: which page asks.
        model: the model, by its place in the list.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        text, pair, target, contrast, rules, long: as in :meth:`textlrp.Explainer.explain`.
    """

    page: str
    model: int
    by: str
    text: str
    pair: str | None
    target: str | None
    contrast: str | None
    rules: str
    long: str

    @classmethod
    def of(cls, body: bytes, models: int) -> Question:
        """Read a request's body.

        Raises:
            InputError: something in it cannot be used; the sentence says what.
        """
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError(f"this request is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError("this request is no JSON object")
        found = {key: _string(values, key) for key in ("page", "text", "pair", "target", "contrast", "rules")}
        model, by, long = values.get("model", 0), values.get("by", "word"), values.get("long", "truncate")
        number = options.as_whole(model)
        if number is None or not 0 <= number < models:
            raise InputError(f"there is no model {options.brief(model)}: this page has {models}, numbered from 0")
        if by not in UNITS:
            raise InputError(f"a text is shown by {', '.join(UNITS)}, not by {by!r}")
        if long not in ("truncate", "windows"):
            raise InputError(f"long is truncate or windows, not {long!r}")
        if len(found["page"] or "") > _NAME:
            raise InputError(f"page is a name of up to {_NAME} characters, not of {len(found['page'] or ''):,}")
        return cls(
            found["page"] or "",
            number,
            by,
            found["text"] or "",
            found["pair"] or None,
            found["target"] or None,
            found["contrast"] or None,
            (found["rules"] or "attnlrp").strip(),
            long,
        )


def _string(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} is a text, not {value!r:.80}")
    return value


class Room:
    """What one server knows: the models, the desk that explains, and the explanations that can be saved."""

    def __init__(self, models: Sequence[Model], waiting: int = Limits.waiting) -> None:
        self.models = tuple(models)
        self.desk = Desk(waiting)
        self._kept: OrderedDict[int, tuple[Explanation, str]] = OrderedDict()
        self._numbers = itertools.count(1)

    def answer(self, question: Question) -> Message:
        """Explain; called in the desk's thread."""
        if question.rules.lower().endswith(".json"):  # a page may name rules, not files of this machine
            raise InputError(f"rules are {', '.join(PRESETS)}, epsilon=1e-6 or gamma=0.25 here, not a file")
        explanation = self.models[question.model].explain(
            question.text,
            question.pair,
            target=question.target,
            contrast=question.contrast,
            rules=Rules.parse(question.rules),
            long=question.long,
        )
        # The page has the styles already, and its policy allows no others.
        html = webpage.fragment(explanation, question.by, styled=False)
        number = next(self._numbers)
        self._kept[number] = (explanation, question.by)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return {"number": number, "html": html, "summary": serve_page.summary(explanation)}

    def kept(self, number: str) -> tuple[Explanation, str] | None:
        """Return an explanation that was shown, with what it was shown by, or None where it is gone."""
        return self._kept.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 12 else None


def application(room: Room, token: str, port: int) -> Application:
    """Return the ASGI application of a server at a port.

    Raises:
        InputError: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
        from starlette.routing import Route
    except ImportError:
        raise InputError(_MISSING) from None

    page, policy = serve_page.page(room.models)

    async def show(request: Request) -> Response:
        headers = {"content-security-policy": policy, "content-type": "text/html; charset=utf-8"}
        return Response(page, headers=headers)

    async def explain(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"the text is too long: a request may have {LIMIT:,} bytes"}, 413)
        try:
            question = Question.of(body, len(room.models))
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        job, messages = _asked(room, question)
        if not room.desk.submit(job):
            return JSONResponse({"error": _BUSY}, 503, {"retry-after": "1"})
        lines = _lines(request, job, messages)
        await anext(lines)  # once it has begun, its end stops the job, whatever becomes of the answer
        return StreamingResponse(lines, media_type="application/x-ndjson")

    def saved(request: Request, kind: str, media: str) -> Response:
        kept = room.kept(request.query_params.get("number", ""))
        if kept is None:
            return PlainTextResponse("This explanation is gone: explain the text again, then save it.\n", 404)
        content = kept[0].to_json() if kind == "json" else webpage.page(*kept)
        named = {"content-disposition": f'attachment; filename="explanation.{kind}"'}
        # UTF-8 cannot hold half of a surrogate pair, and JSON spells it as Python does.
        return Response(content.encode("utf-8", "backslashreplace"), headers=named, media_type=media)

    async def save_json(request: Request) -> Response:
        return saved(request, "json", "application/json")

    async def save_html(request: Request) -> Response:
        return saved(request, "html", "text/html; charset=utf-8")

    async def missing(request: Request, error: Exception) -> Response:
        return PlainTextResponse("There is no such page here.\n", 404)

    routes = [
        Route("/", show),
        Route("/explain", explain, methods=["POST"]),
        Route("/explanation.json", save_json),
        Route("/explanation.html", save_html),
    ]
    return Guard(
        Starlette(routes=routes, exception_handlers={404: missing}), token, [f"{HOST}:{port}", f"localhost:{port}"]
    )


async def _body(request: Request) -> bytes | None:
    """Return a request's body, or None where it is too large; a little over is read, so that the answer is."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= LIMIT:
            parts.append(part)
        elif size > 10 * LIMIT:
            break
    return b"".join(parts) if size <= LIMIT else None


def _asked(room: Room, question: Question) -> tuple[Job, asyncio.Queue[Message]]:
    """Return a job that answers a question, and the queue of what it tells."""
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message]()

    def tell(message: Message) -> None:
        try:
            loop.call_soon_threadsafe(messages.put_nowait, message)
        except RuntimeError:
            job.stop()  # the server has ended

    job = Job(question.page, lambda: room.answer(question), tell)
    return job, messages


async def _lines(request: Request, job: Job, messages: asyncio.Queue[Message]) -> AsyncIterator[bytes]:
    """Yield nothing once, then JSON lines: progress, and last the explanation, an error, or that a newer request took
    its place."""
    try:
        yield b""
        while True:
            try:
                message = await asyncio.wait_for(messages.get(), _LOOK)
            except TimeoutError:
                if await request.is_disconnected():
                    return
                continue
            yield json.dumps(message).encode() + b"\n"
            if "done" not in message:
                return
    finally:
        job.stop()


def bind(port: int) -> socket.socket:
    """Return a socket of this machine alone that listens at a port; 0 is any free one.

    Raises:
        InputError: the port is in use, or is none.
    """
    port = options.whole(port, "--port is 1 to 65535, or 0 for any free one", 0, 65535)
    # With the protocol named, asyncio turns Nagle's algorithm off, which would hold each answer back for 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise InputError(f"cannot listen at port {port} ({reason}): name another with --port, or 0 for any") from None
    return listening


def run(
    models: Sequence[Model], listening: socket.socket, started: Callable[[str], None], limits: Limits | None = None
) -> None:
    """Serve until Ctrl-C.

    Args:
        models: what the page offers; the first is chosen.
        listening: what :func:`bind` returned.
        started: is told the page's address, with its token.
        limits: what visitors may take.

    Raises:
        InputError: starlette or uvicorn is not installed.
    """
    try:
        import uvicorn

        from textlrp.serve.connection import protocol
    except ImportError:
        raise InputError(_MISSING) from None
    limits = limits or Limits()
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe()
    room = Room(models, limits.waiting)
    bounds: dict[str, Any] = {"timeout_keep_alive": limits.idle}  # seconds of any kind, which uvicorn does not say
    try:
        # Nothing is logged: an address in a log would be a token in a log.
        config = uvicorn.Config(
            application(room, token, port),
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            http=protocol(limits),
            loop="asyncio",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
            **bounds,
        )
        started(f"http://{HOST}:{port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        room.desk.close(_PATIENCE)
        listening.close()


def check() -> None:
    """Fail early, before a model is loaded, where what serves is not installed.

    Raises:
        InputError: starlette or uvicorn is missing.
    """
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise InputError(_MISSING)

"""A local page that explains a text as you type it."""

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
from textlrp.serve.worker import Job, JobQueue, Message

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from textlrp.explain.explainer import Explainer

#: The server listens at this address alone, so that it cannot be reached from the network.
HOST = "127.0.0.1"

#: The most bytes of a request's body.
LIMIT = 5_000_000

#: The number of explanations that are kept for download.
KEPT = 20

_MISSING = 'textlrp serve needs starlette and uvicorn: pip install "textlrp[serve]"'
_BUSY = "too many texts are waiting to be explained: try again in a moment"
# The texts of a request.
_TEXTS = ("page", "text", "pair", "target", "contrast", "rules", "reference")
# Seconds between two checks whether a page still waits for its answer.
_LOOK = 0.5
# The most characters of the name that a page chooses for itself.
_NAME = 100
# Seconds that a stopping server waits for the text that is being explained.
_PATIENCE = 0.3


@dataclass(frozen=True)
class Model:
    """A model that the page offers.

    Attributes:
        name: its name on the page.
        labels: its labels.
        explain: a function of a text and a second text, with the keywords ``target``, ``contrast``, ``rules``,
            ``reference`` and ``long``.
    """

    name: str
    labels: tuple[str, ...]
    explain: Callable[..., Explanation]

    @classmethod
    def of(cls, explainer: Explainer) -> Model:
        """Offer an explainer."""
        return cls(explainer.name, explainer.labels, explainer.explain)


@dataclass(frozen=True)
class Question:
    """A request of a page.

    Attributes:
        page: the name of the page.
        model: the index of the model.
        by: ``"word"``, ``"token"`` or ``"sentence"``.
        text, pair, target, contrast, rules, reference, long: as in :meth:`textlrp.Explainer.explain`.
    """

    page: str
    model: int
    by: str
    text: str
    pair: str | None
    target: str | None
    contrast: str | None
    rules: str
    reference: str | None
    long: str

    @classmethod
    def of(cls, body: bytes, models: int) -> Question:
        """Read a request's body.

        Raises:
            InputError: something in it cannot be used; the message names it.
        """
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InputError(f"this request is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError("this request is not a JSON object")
        texts = {key: _string(values, key) for key in _TEXTS}
        model, by, long = values.get("model", 0), values.get("by", "word"), values.get("long", "truncate")
        number = options.as_whole(model)
        if number is None or not 0 <= number < models:
            raise InputError(f"there is no model {options.brief(model)}: this page has {models}, numbered from 0")
        if by not in UNITS:
            raise InputError(f"a text is shown by {', '.join(UNITS)}, not by {by!r}")
        if long not in ("truncate", "windows"):
            raise InputError(f"long is truncate or windows, not {long!r}")
        if len(texts["page"] or "") > _NAME:
            raise InputError(f"page is a name of up to {_NAME} characters, not of {len(texts['page'] or ''):,}")
        return cls(
            texts["page"] or "",
            number,
            by,
            texts["text"] or "",
            texts["pair"] or None,
            texts["target"] or None,
            texts["contrast"] or None,
            (texts["rules"] or "attnlrp").strip(),
            (texts["reference"] or "").strip() or None,
            long,
        )


def _string(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{key} is a text, not {value!r:.80}")
    return value


class ServerState:
    """The state of one server: its models, its jobs, and the explanations that can be saved."""

    def __init__(self, models: Sequence[Model], waiting: int = Limits.waiting) -> None:
        self.models = tuple(models)
        self.jobs = JobQueue(waiting)
        self._kept: OrderedDict[int, tuple[Explanation, str]] = OrderedDict()
        self._numbers = itertools.count(1)

    def answer(self, question: Question) -> Message:
        """Explain a text; called in the thread of the jobs."""
        if question.rules.lower().endswith(".json"):  # a page may name rules, not files of this machine
            raise InputError(f"rules are {', '.join(PRESETS)}, epsilon=1e-6 or gamma=0.25 here, not a file")
        explanation = self.models[question.model].explain(
            question.text,
            question.pair,
            target=question.target,
            contrast=question.contrast,
            rules=Rules.parse(question.rules),
            reference=question.reference,
            long=question.long,
        )
        # The page already has the styles, and its policy allows no others.
        html = webpage.fragment(explanation, question.by, styled=False)
        number = next(self._numbers)
        self._kept[number] = (explanation, question.by)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return {"number": number, "html": html, "summary": serve_page.summary(explanation)}

    def kept(self, number: str) -> tuple[Explanation, str] | None:
        """Return an explanation that was shown and the unit that was colored, or None if it is no longer kept."""
        return self._kept.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 12 else None


def application(state: ServerState, token: str, port: int) -> Application:
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

    page, policy = serve_page.page(state.models)

    async def show(request: Request) -> Response:
        headers = {"content-security-policy": policy, "content-type": "text/html; charset=utf-8"}
        return Response(page, headers=headers)

    async def explain(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"the text is too long: a request may have {LIMIT:,} bytes"}, 413)
        try:
            question = Question.of(body, len(state.models))
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        job, messages = _asked(state, question)
        if not state.jobs.submit(job):
            return JSONResponse({"error": _BUSY}, 503, {"retry-after": "1"})
        lines = _lines(request, job, messages)
        await anext(lines)  # start the generator: only then does closing it stop the job, also if the client leaves
        return StreamingResponse(lines, media_type="application/x-ndjson")

    def saved(request: Request, kind: str, media: str) -> Response:
        kept = state.kept(request.query_params.get("number", ""))
        if kept is None:
            return PlainTextResponse("This explanation is no longer kept: explain the text again, then save it.\n", 404)
        content = kept[0].to_json() if kind == "json" else webpage.page(*kept)
        named = {"content-disposition": f'attachment; filename="explanation.{kind}"'}
        # UTF-8 cannot hold half of a surrogate pair; JSON writes it with the same escape as Python.
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
    """Return a request's body, or None if it is too large; some more is read, so that the client gets the answer."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= LIMIT:
            parts.append(part)
        elif size > 10 * LIMIT:
            break
    return b"".join(parts) if size <= LIMIT else None


def _asked(state: ServerState, question: Question) -> tuple[Job, asyncio.Queue[Message]]:
    """Return a job that answers a question, and the queue of its messages."""
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message]()

    def tell(message: Message) -> None:
        try:
            loop.call_soon_threadsafe(messages.put_nowait, message)
        except RuntimeError:
            job.stop()  # the server has ended

    job = Job(question.page, lambda: state.answer(question), tell)
    return job, messages


async def _lines(request: Request, job: Job, messages: asyncio.Queue[Message]) -> AsyncIterator[bytes]:
    """Yield empty bytes once, then JSON lines: progress, and last the explanation, an error, or a note that a newer
    request took its place."""
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
    """Return a socket that listens at a port of this machine alone; 0 is any free port.

    Raises:
        InputError: the port is in use, or it is not a port.
    """
    port = options.whole(port, "--port is 1 to 65535, or 0 for any free one", 0, 65535)
    # If the protocol is named, asyncio turns off Nagle's algorithm, which would delay each answer by 40 ms.
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
        models: the models on the page; the first one is selected.
        listening: the socket of :func:`bind`.
        started: is called with the page's address and token.
        limits: the limits of clients.

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
    state = ServerState(models, limits.waiting)
    bounds: dict[str, Any] = {"timeout_keep_alive": limits.idle}  # uvicorn's annotation says int, but a float works
    try:
        # Nothing is logged, since the addresses contain the token.
        config = uvicorn.Config(
            application(state, token, port),
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
        state.jobs.close(_PATIENCE)
        listening.close()


def check() -> None:
    """Raise an error early, before a model is loaded, if starlette or uvicorn is not installed.

    Raises:
        InputError: starlette or uvicorn is missing.
    """
    from importlib.util import find_spec

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise InputError(_MISSING)

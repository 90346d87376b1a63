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
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from textlrp.basics import options
from textlrp.errors import InputError, LRPError
from textlrp.render import page as webpage
from textlrp.results.explanation import Explanation
from textlrp.rules import PRESETS, Rules
from textlrp.serve import compared, left_out
from textlrp.serve import page as serve_page
from textlrp.serve.guard import Application, Guard
from textlrp.serve.limits import Limits
from textlrp.serve.question import MASK, LeftOut, Question
from textlrp.serve.worker import Job, JobQueue, Message

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from textlrp.explain.explainer import Explainer

#: The server listens at this address alone, so that it cannot be reached from the network.
HOST = "127.0.0.1"

#: The most bytes of a request's body.
LIMIT = 5_000_000

#: The number of explanations that are kept for download, and to leave words out.
KEPT = 20

_MISSING = 'textlrp serve needs starlette and uvicorn: pip install "textlrp[serve]"'
_GONE = "this explanation is no longer kept: explain the text again"
_BUSY = "too many texts are waiting to be explained: try again in a moment"
# Seconds between two checks whether a page still waits for its answer.
_LOOK = 0.5
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
        without: a function of an explanation, token indices and ``"delete"`` or ``"mask"``, which returns the score of
            the whole text and that without these tokens; None if words cannot be left out.
        mask: the mask token; empty if the model has none.
    """

    name: str
    labels: tuple[str, ...]
    explain: Callable[..., Explanation]
    without: left_out.Without | None = None
    mask: str = ""

    @classmethod
    def of(cls, explainer: Explainer) -> Model:
        """Offer an explainer."""
        mask = getattr(explainer.tokenizer, "mask_token", None)
        without = left_out.scores(explainer)
        return cls(explainer.name, explainer.labels, explainer.explain, without, str(mask) if mask else "")


class Kept(NamedTuple):
    """An explanation that was shown, the unit that was colored, and the index of its model."""

    explanation: Explanation
    by: str
    model: int


class ServerState:
    """The state of one server: its models, its jobs, and the explanations that can be saved."""

    def __init__(self, models: Sequence[Model], waiting: int = Limits.waiting) -> None:
        self.models = tuple(models)
        self.jobs = JobQueue(waiting)
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._before: tuple[tuple[Any, ...], Explanation] | None = None
        self._numbers = itertools.count(1)

    def answer(self, question: Question) -> Message:
        """Explain a text; called in the thread of the jobs."""
        if question.rules.lower().endswith(".json"):  # a page may name rules, not files of this machine
            raise InputError(f"rules are {', '.join(PRESETS)}, epsilon=1e-6 or gamma=0.25 here, not a file")
        model = self.models[question.model]
        explanation = self._explain(question, question.text, question.pair, question.target, question.contrast)
        places = left_out.places(explanation, question.by) if model.without is not None else frozenset[str]()
        # The page already has the styles, and its policy allows no others.
        html = webpage.fragment(explanation, question.by, styled=False, places=places)
        number = next(self._numbers)
        self._kept[number] = Kept(explanation, question.by, question.model)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return {
            "number": number,
            "html": html,
            "summary": serve_page.summary(explanation),
            "predicted": explanation.predicted,
            "target": [explanation.target, explanation.contrast],
            "strongest": left_out.strongest(explanation, question.by),
            "compared": None if question.before is None else self._compare(question, explanation),
        }

    def without(self, asked: LeftOut) -> Message:
        """Return the score of a text without some words; called in the thread of the jobs."""
        kept = self._kept.get(asked.number)
        if kept is None:
            raise InputError(_GONE)
        self._kept.move_to_end(asked.number)
        model = self.models[kept.model]
        if model.without is None:
            raise InputError(f"words cannot be left out of a text of {model.name}")
        if asked.how == MASK and not model.mask:
            raise InputError("this model has no mask token: delete words instead")
        return left_out.told(kept.explanation, kept.by, asked.places, asked.how, model.without)

    def kept(self, number: str) -> Kept | None:
        """Return an explanation that was shown, or None if it is no longer kept."""
        return self._kept.get(int(number)) if number.isascii() and number.isdigit() and len(number) < 12 else None

    def _explain(
        self, question: Question, text: str, pair: str | None, target: str | None, contrast: str | None
    ) -> Explanation:
        return self.models[question.model].explain(
            text,
            pair,
            target=target,
            contrast=contrast,
            rules=Rules.parse(question.rules),
            reference=question.reference,
            long=question.long,
        )

    def _compare(self, question: Question, now: Explanation) -> Message:
        """Compare a text with the one before, which is explained for the same label."""
        assert question.before is not None
        asked = (question.before, question.before_pair, now.target, now.contrast)
        key = (question.model, question.rules, question.reference, question.long, *asked)
        if self._before is None or self._before[0] != key:
            try:
                self._before = key, self._explain(question, *asked)
            except LRPError as error:
                return {"error": f"The text before cannot be explained like this one: {error}"}
        return compared.told(self._before[1], now, question.by)


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

    async def answered(request: Request, job_of: Callable[[bytes], tuple[str, Callable[[], Message]]]) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": f"the text is too long: a request may have {LIMIT:,} bytes"}, 413)
        try:
            job, messages = _asked(*job_of(body))
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        if not state.jobs.submit(job):
            return JSONResponse({"error": _BUSY}, 503, {"retry-after": "1"})
        lines = _lines(request, job, messages)
        await anext(lines)  # start the generator: only then does closing it stop the job, also if the client leaves
        return StreamingResponse(lines, media_type="application/x-ndjson")

    def explanation_of(body: bytes) -> tuple[str, Callable[[], Message]]:
        question = Question.of(body, len(state.models))
        return question.page, partial(state.answer, question)

    def score_of(body: bytes) -> tuple[str, Callable[[], Message]]:
        asked = LeftOut.of(body)
        return asked.page, partial(state.without, asked)

    async def explain(request: Request) -> Response:
        return await answered(request, explanation_of)

    async def without(request: Request) -> Response:
        return await answered(request, score_of)

    def saved(request: Request, kind: str, media: str) -> Response:
        kept = state.kept(request.query_params.get("number", ""))
        if kept is None:
            return PlainTextResponse("This explanation is no longer kept: explain the text again, then save it.\n", 404)
        content = kept.explanation.to_json() if kind == "json" else webpage.page(kept.explanation, kept.by)
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
        Route("/without", without, methods=["POST"]),
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


def _asked(page: str, work: Callable[[], Message]) -> tuple[Job, asyncio.Queue[Message]]:
    """Return a job that answers a question of a page, and the queue of its messages."""
    loop, messages = asyncio.get_running_loop(), asyncio.Queue[Message]()

    def tell(message: Message) -> None:
        try:
            loop.call_soon_threadsafe(messages.put_nowait, message)
        except RuntimeError:
            job.stop()  # the server has ended

    job = Job(page, work, tell)
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

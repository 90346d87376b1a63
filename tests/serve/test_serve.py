"""The local server: its guard, its answers and refusals, and the one thread that explains for all pages."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import served_models

from textlrp.errors import InputError
from textlrp.explain.progress import ProgressBar, watched
from textlrp.render import html
from textlrp.render.page_parts import BUILT_IN
from textlrp.results.explanation import Explanation
from textlrp.serve import page as serve_page
from textlrp.serve import server
from textlrp.serve.worker import SUPERSEDED, Job, JobQueue

TOKEN = "t0ken-of-this-run"
HOST = "127.0.0.1:8000"

testclient = pytest.importorskip("starlette.testclient", reason="needs starlette (pip install 'textlrp[serve]')")


@pytest.fixture
def state() -> Iterator[server.ServerState]:
    state = server.ServerState(served_models.MODELS)
    yield state
    state.jobs.close()


@pytest.fixture
def client(state: server.ServerState) -> Any:
    return testclient.TestClient(server.application(state, TOKEN, 8000), base_url=f"http://{HOST}")


def ask(client: Any, status: int = 200, headers: dict[str, str] | None = None, **question: Any) -> list[dict[str, Any]]:
    given = {"Authorization": f"Bearer {TOKEN}", **(headers or {})}
    response = client.post("/explain", content=json.dumps({"text": "a good film", **question}), headers=given)
    assert response.status_code == status, response.text
    return [json.loads(line) for line in response.text.splitlines()]


# The guard


@pytest.mark.parametrize(
    "query",
    [
        *("", "?token=", "?token=wrong", f"?token={TOKEN}x", f"?token={TOKEN[:-1]}", "?token=%C3%A4", "?token=%00"),
        *(f"?token={TOKEN}&token={TOKEN}", f"?Token={TOKEN}", f"?x={TOKEN}"),
    ],
)
def test_without_the_token_there_is_nothing(client: Any, query: str) -> None:
    for path in ("/", "/explain", "/explanation.json", "/nothing"):
        response = client.get(path + query)
        assert response.status_code == 403
        assert response.text == ("This address has no token: open the whole address that textlrp serve printed.\n")
    assert client.post("/explain" + query, json={"text": "x"}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "0.0.0.0:8000", "", "localhost.evil:8000"],
)
def test_another_name_is_refused(client: Any, host: str) -> None:
    response = client.get(f"/?token={TOKEN}", headers={"Host": host})
    assert response.status_code == 421
    assert response.text.startswith("This server is named 127.0.0.1:8000 or localhost:8000: ")


def test_both_of_its_names_are_known(client: Any) -> None:
    for host in (HOST, "localhost:8000", "LOCALHOST:8000"):
        assert client.get(f"/?token={TOKEN}", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8000"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
def test_another_page_is_refused(client: Any, headers: dict[str, str]) -> None:
    response = client.post("/explain", json={"text": "x"}, headers={"Authorization": f"Bearer {TOKEN}", **headers})
    assert response.status_code == 403
    assert response.text == "This request comes from another page, and only the page of textlrp serve is answered.\n"
    assert "access-control-allow-origin" not in response.headers


def test_its_own_page_and_a_followed_link_are_not(client: Any) -> None:
    own = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert "html" in ask(client, headers=own)[-1]
    link = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get(f"/?token={TOKEN}", headers=link).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nothing", "/explain", "/explanation.json?number=1", "/?token=wrong"])
def test_every_answer_is_closed(client: Any, path: str) -> None:
    given = {} if "token" in path else {"Authorization": f"Bearer {TOKEN}"}
    headers = client.get(path, headers=given).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert headers["content-security-policy"].endswith("frame-ancestors 'none'")
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def test_the_page_allows_its_own_blocks_alone(client: Any) -> None:
    response = client.get(f"/?token={TOKEN}")
    (sheet,) = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", response.text, re.DOTALL)
    own = html.policy(sheet, script)
    assert response.headers["content-security-policy"] == f"{own}; connect-src 'self'; frame-ancestors 'none'"
    assert not re.search(r"unsafe|\*|https?:", response.headers["content-security-policy"])
    markup = response.text.replace(script, "").replace(sheet, "")
    assert not re.search(r"<[^>]*\s(?:style|on\w+)\s*=", markup)
    assert TOKEN not in response.text
    assert response.text == client.get(f"/?token={TOKEN}").text


def test_the_page_holds_hostile_labels_as_data(client: Any) -> None:
    text = client.get(f"/?token={TOKEN}").text
    (data,) = re.findall(r'<script type="application/json" id="textlrp-data">(.*?)</script>', text, re.DOTALL)
    assert not set("<>&") & set(data)
    assert tuple(json.loads(data)["models"][0]["labels"]) == served_models.LABELS
    assert json.loads(data)["models"][2]["name"] == "<script>alert(1)</script>"


# What it answers


def test_an_explanation_is_the_fragment_without_its_styles(client: Any) -> None:
    (answer,) = ask(client, target="NEG", contrast="POS", by="token", rules=" gamma=0.25 ")
    assert set(answer) == {"number", "html", "summary", "predicted", "target", "strongest", "compared"}
    assert answer["summary"].startswith("NEG, 75.0 %. Explained: NEG and not POS. The words add +0.83 to the ")
    assert answer["html"].lstrip().startswith('<div class="textlrp textlrp-fragment">')
    assert "<style" not in answer["html"]
    assert ">good</span>" in answer["html"]
    assert "gamma" in answer["html"]


def test_steps_are_told(client: Any) -> None:
    told = ask(client, model=1)
    assert told[:5] == [{"done": done, "total": 5} for done in range(1, 6)]
    assert "html" in told[5]
    assert len(told) == 6


def test_a_pair_is_explained(client: Any) -> None:
    (answer,) = ask(client, pair="und mehr")
    assert "Second text" in answer["html"]
    assert ">und</span>" in answer["html"]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"text": "unknown"}, "there is no label 'X': the model's labels are POS, NEG"),
        ({"text": "broken"}, "the model fails on this text: RuntimeError: index out of range in self"),
        ({"rules": "epsilon="}, "epsilon takes a number, such as epsilon=0.25, not ''"),
        ({"rules": "nonsense"}, "no rules are called 'nonsense': .*"),
        ({"rules": "/etc/rules.JSON"}, "rules are attnlrp, .*, epsilon=1e-6 or gamma=0.25 here, not a file"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(client: Any, question: dict[str, Any], sentence: str) -> None:
    (answer,) = ask(client, **question)
    assert set(answer) == {"error"}
    assert re.fullmatch(sentence, answer["error"])
    assert "html" in ask(client)[-1]  # and the server goes on


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"text": 7}, "text is a text, not 7"),
        ({"text": ["x"] * 100}, "text is a text, not .{80}"),
        ({"target": {"a": 1}}, "target is a text, not {'a': 1}"),
        ({"model": 4}, "there is no model 4: this page has 4, numbered from 0"),
        ({"model": -1}, "there is no model -1: .*"),
        ({"model": True}, "there is no model True: .*"),
        ({"model": "0"}, "there is no model '0': .*"),
        ({"by": "line"}, "a text is shown by token, word, sentence, not by 'line'"),
        ({"long": "error"}, "long is truncate or windows, not 'error'"),
    ],
)
def test_a_question_that_no_page_asks_is_refused(client: Any, question: dict[str, Any], sentence: str) -> None:
    (answer,) = ask(client, 400, **question)
    assert re.fullmatch(sentence, answer["error"])


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_question_is_refused(client: Any, body: bytes) -> None:
    response = client.post("/explain", content=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 400
    assert re.match("this request is not (JSON:|a JSON object)", response.json()["error"])


def test_a_text_may_be_long_but_not_too_long(client: Any) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = client.post("/explain", content=b" " * (server.LIMIT + 1), headers=headers)
    assert response.status_code == 413
    assert response.json() == {"error": "the text is too long: a request may have 5,000,000 bytes"}
    answer = ask(client, text="unknown", pair="x" * (server.LIMIT - 200))
    assert answer == [{"error": "there is no label 'X': the model's labels are POS, NEG"}]


def test_only_get_and_post_where_they_belong(client: Any) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client.post("/", headers=headers).status_code == 405
    assert client.get("/explain", headers=headers).status_code == 405
    assert client.get("/../textlrp/serve.py", headers=headers).status_code == 404


def test_an_explanation_is_saved(client: Any) -> None:
    (answer,) = ask(client, text="good \ud83d half", by="sentence")
    address = f"?number={answer['number']}&token={TOKEN}"
    saved = client.get("/explanation.json" + address)
    assert saved.headers["content-disposition"] == 'attachment; filename="explanation.json"'
    page = client.get("/explanation.html" + address)
    assert page.headers["content-disposition"] == 'attachment; filename="explanation.html"'
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert client.get("/explanation.exe" + address).status_code == 404
    assert Explanation.from_json(saved.text).text == "good \ud83d half"
    assert "good \ufffd half" in page.text


def test_what_is_saved_is_what_was_shown(client: Any) -> None:
    (answer,) = ask(client, text="a good film", target="NEG")
    saved = client.get(f"/explanation.json?number={answer['number']}&token={TOKEN}")
    e = Explanation.from_json(saved.text)
    assert (e.text, e.target) == ("a good film", "NEG")


@pytest.mark.parametrize("number", ["", "0", "99", "-1", "x", "٣", "9" * 5000, "1.0"])
def test_what_is_gone_is_a_sentence(client: Any, number: str) -> None:
    response = client.get("/explanation.json", params={"number": number, "token": TOKEN})
    assert response.status_code == 404
    assert response.text == "This explanation is no longer kept: explain the text again, then save it.\n"


def test_only_the_latest_are_kept(client: Any) -> None:
    numbers = [ask(client)[-1]["number"] for _ in range(server.KEPT + 1)]
    statuses = [client.get(f"/explanation.json?number={n}&token={TOKEN}").status_code for n in numbers]
    assert statuses == [404] + [200] * server.KEPT


# One thread for all


class Answers:
    """Collects what jobs tell, and lets their work wait."""

    def __init__(self) -> None:
        self.told: dict[str, list[Any]] = {}
        self.go, self.working, self.ended = threading.Event(), threading.Event(), threading.Semaphore(0)

    def job(self, page: str, name: str, wait: bool = False) -> Job:
        def work() -> dict[str, Any]:
            with ProgressBar("explaining", 3, False) as bar:
                bar.advance()
                if wait:
                    self.working.set()
                    assert self.go.wait(20)
                bar.advance(2)
            return {"name": name}

        def tell(message: Any) -> None:
            self.told.setdefault(name, []).append(message)
            if "done" not in message:
                self.ended.release()

        return Job(page, work, tell)

    def last(self, count: int) -> dict[str, Any]:
        for _ in range(count):
            assert self.ended.acquire(timeout=20)
        return {name: messages[-1] for name, messages in self.told.items()}


def test_a_newer_job_replaces_the_waiting_one_and_stops_the_one_at_work() -> None:
    jobs, answers = JobQueue(), Answers()
    jobs.submit(answers.job("a", "first", wait=True))
    assert answers.working.wait(20)
    jobs.submit(answers.job("b", "other page"))
    jobs.submit(answers.job("a", "second"))
    jobs.submit(answers.job("a", "third"))
    answers.go.set()
    assert answers.last(4) == {
        "first": SUPERSEDED,
        "second": SUPERSEDED,
        "third": {"name": "third"},
        "other page": {"name": "other page"},
    }
    assert answers.told["first"] == [{"done": 1, "total": 3}, SUPERSEDED]
    assert answers.told["third"] == [{"done": 1, "total": 3}, {"done": 3, "total": 3}, {"name": "third"}]
    jobs.close()


def test_a_closed_desk_drops_what_waits() -> None:
    jobs, answers = JobQueue(), Answers()
    jobs.submit(answers.job("a", "first", wait=True))
    assert answers.working.wait(20)
    jobs.submit(answers.job("b", "second"))
    answers.go.set()
    jobs.close()
    assert answers.last(2)["second"] == SUPERSEDED
    assert not any(thread.name == "textlrp-jobs" and thread.is_alive() for thread in threading.enumerate())


def test_steps_are_watched_inside_the_block_alone() -> None:
    seen: list[tuple[int, int]] = []
    with watched(lambda done, total: seen.append((done, total))), ProgressBar("explaining", 3, False) as bar:
        bar.advance()
        bar.advance(2)
    with ProgressBar("explaining", 3, False) as bar:
        bar.advance()
    assert seen == [(1, 3), (3, 3)]


# Before it runs


def test_a_busy_port_is_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen at port {port} \(Address already in use\): name another"):
            server.bind(port)
    for port in (-1, 65536):
        with pytest.raises(InputError, match=f"--port is 1 to 65535, or 0 for any free one, not {port}"):
            server.bind(port)


def test_it_listens_on_this_machine_alone() -> None:
    with server.bind(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r'needs starlette and uvicorn: pip install "textlrp\[serve\]"'):
        server.check()
    with server.bind(0) as listening, pytest.raises(InputError, match="needs starlette and uvicorn"):
        server.run((), listening, print)


def test_the_example_is_shown_for_the_built_in_classifier_alone() -> None:
    built_in = server.Model(BUILT_IN, ("NEG", "POS"), served_models.explain)
    assert serve_page.EXAMPLE.split("\n")[0] in serve_page.page([built_in])[0]
    assert serve_page.EXAMPLE.split("\n")[0] not in serve_page.page(served_models.MODELS)[0]


def test_a_reference_is_handed_on(client: Any) -> None:
    (answer,) = (line for line in ask(client, rules="difference", reference=" a film ") if "html" in line)
    assert (
        "For the reference ([MASK]) the model says POS \u22120.50. The words add +1.75, above all " in answer["summary"]
    )
    (answer,) = (line for line in ask(client, rules="difference", reference="") if "html" in line)
    assert "Without its words the model would say POS \u22120.50." in answer["summary"]
    assert "reference" in ask(client, 400, reference=7)[0]["error"]

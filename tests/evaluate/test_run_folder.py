"""What a run keeps: results survive, torn lines are dropped, another run is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from example_evaluations import plan, result, results

from textlrp.errors import InputError
from textlrp.evaluate.run_folder import RESULTS, RUN, EvaluationPlan, Log, read


def begun(folder: Path, count: int = 3, **changes: Any) -> None:
    with Log(plan(**changes), folder) as log:
        for each in results()[:count]:
            log.add(each)


def test_results_are_there_again(tmp_path: Path) -> None:
    begun(tmp_path / "new" / "run")
    with Log(plan(), tmp_path / "new" / "run") as log:
        assert list(log.results.values()) == results()[:3]
        log.add(results()[3])
    kept, found = read(tmp_path / "new" / "run")
    assert (kept, found) == (EvaluationPlan.from_dict(plan().to_dict()), tuple(results()[:4]))


def test_a_torn_line_is_dropped_and_written_again(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / RESULTS
    whole = path.read_bytes()
    for torn in (whole[:-1], whole[:-30], whole + b'{"model": "ti', whole + b"\x00\x00"):
        path.write_bytes(torn)
        count = torn.count(b"\n")
        assert len(read(tmp_path)[1]) == count
        with Log(plan(), tmp_path) as log:
            assert list(log.results.values()) == results()[:count]
            log.add(results()[count])
        assert read(tmp_path)[1] == tuple(results()[: count + 1])


def test_a_line_that_is_no_result_is_named(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / RESULTS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"nothing": 1}\n' + lines[2])
    with pytest.raises(InputError, match=r"results\.jsonl', line 2 is not a result: .*nothing"), Log(plan(), tmp_path):
        pass


MODEL, CORPUS = plan().models[0], plan().corpora[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": 1}, "seed: 0 then, 1 now"),
        ({"methods": ("one", "three")}, "methods: one two then, one three now"),
        ({"perturb": ("mask", "zero")}, "perturb: mask then, mask zero now"),
        ({"by": "word"}, "by: token then, word now"),
        ({"limit": 5}, "limit: None then, 5 now"),
        ({"limit_costly": 5}, "limit_costly: None then, 5 now"),
        ({"rules": {"rules:a": "2"}}, "rules of rules:a: None then, 2 now"),
        ({"versions": {"textlrp": "0.1.0", "torch": "2.14.0"}}, "versions of torch: 2.13.0 then, 2.14.0 now"),
        ({"references": {"two": "[MASK]"}}, "references of two: None then, [MASK] now"),
        ({"models": ({**MODEL, "fingerprint": "x"},)}, "the model 'tiny' is not what it was"),
        ({"models": (MODEL, {**MODEL, "name": "big"})}, "models: tiny then, tiny big now"),
        ({"corpora": ({**CORPUS, "fingerprint": "x"},)}, "the corpus 'notes' is not what it was"),
        (
            {"corpora": ({**CORPUS, "documents": 1200},)},
            "the corpus 'notes' is not what it was: 4 documents then, 1,200 now",
        ),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    begun(tmp_path)
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(InputError, match="other options or data") as refused, Log(plan(**changes), tmp_path):
        pass
    assert f"({says})" in str(refused.value)
    assert (tmp_path / RESULTS).read_bytes() == before


def test_a_run_keeps_the_methods_that_were_costly_when_it_began(tmp_path: Path) -> None:
    begun(tmp_path, limit_costly=2, costly={"notes": ("two",)})
    with Log(plan(limit_costly=2), tmp_path) as log:
        assert log.plan.costly == {"notes": ["two"]}
        assert [log.plan.planned(log.plan.corpora[0], method) for method in ("one", "two")] == [4, 2]


def test_another_machine_may_go_on(tmp_path: Path) -> None:
    begun(tmp_path)
    with Log(plan(machine={"device": "NVIDIA", "threads": 1}), tmp_path) as log:
        assert len(log.results) == 3
        assert log.plan.machine == {"device": "cpu", "threads": 2}


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="needs locks of files")
    with Log(plan(), tmp_path), pytest.raises(InputError, match="another run is writing to"), Log(plan(), tmp_path):
        pass
    begun(tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"), Log(plan(), tmp_path / "file" / "run"):
        pass
    begun(tmp_path)
    written = json.loads((tmp_path / RUN).read_text(encoding="utf-8"))
    for broken, says in (
        ({**written, "format": 9}, "format 1"),
        ({**written, "colour": 1}, "colour"),
        ([], "format 1"),
    ):
        (tmp_path / RUN).write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(InputError, match=says), Log(plan(), tmp_path):
            pass
    (tmp_path / RUN).unlink()
    with pytest.raises(InputError, match=r"has a results\.jsonl and no run\.json"), Log(plan(), tmp_path):
        pass
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path)


def test_half_characters_in_names_are_kept(tmp_path: Path) -> None:
    odd = result("one", "half \ud83d and \u2028", 0.5)
    with Log(plan(), tmp_path) as log:
        log.add(odd)
    assert read(tmp_path)[1] == (odd,)

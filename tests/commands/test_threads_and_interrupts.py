"""Interrupts, threads, forks and spawned processes: quick forms of the scripts under ``tests/reliability``."""

import multiprocessing
import os
import random
import threading

import pytest
import torch
from reliability import commands, interrupts, threads

import textlrp


@pytest.mark.parametrize("name", ["bert", "llama", "draws"])
def test_an_interrupt_leaves_no_trace(name):
    assert interrupts.main(["--model", name, "--count", "60", "--random", "60"]) == 0


def test_two_classifiers_on_one_encoder_beside_a_thread_that_trains_it():
    said, faults = threads.shared_encoder(6, random.Random(0))
    assert not faults, said


def test_weights_that_change_meanwhile_are_an_error_and_never_a_wrong_number():
    said, faults = threads.written_weights(12, random.Random(0))
    assert not faults, said


def test_what_other_threads_draw_is_what_they_draw_alone():
    said, faults = threads.drawing(150)
    assert not faults, said


def test_many_threads_on_one_explainer():
    said, faults = threads.crowd(12)
    assert not faults, said


TEXT = "The plot is thin, but the cast is wonderful."


def explain_in_child(connection):
    torch.set_num_threads(1)  # torch's own threads do not survive a fork
    e = textlrp.Explainer.demo().explain(TEXT)
    connection.send([(word.text, word.relevance) for word in e.words])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_is_started_while_another_thread_explains(method):
    """A forked child has the locks of its parent as they were at that moment, held by threads that it has not."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context = multiprocessing.get_context(method)
    explainer, over = textlrp.Explainer.demo(), threading.Event()
    expected = [(word.text, word.relevance) for word in explainer.explain(TEXT).words]

    def explain():
        while not over.is_set():
            explainer.explain(TEXT)

    busy = [threading.Thread(target=explain, daemon=True) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        for _ in range(3 if method == "fork" else 1):
            mine, theirs = context.Pipe()
            child = context.Process(target=explain_in_child, args=(theirs,), daemon=True)
            child.start()
            assert mine.poll(300), "the child hangs"
            received = mine.recv()
            assert [text for text, _ in received] == [text for text, _ in expected]
            assert [value for _, value in received] == pytest.approx([value for _, value in expected], abs=1e-5)
            child.join(30)
    finally:
        over.set()
        for thread in busy:
            thread.join(60)


class Explained(torch.utils.data.Dataset):
    """Explanations made by the workers of a data loader."""

    def __init__(self, explainer, texts):
        self.explainer, self.texts = explainer, texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return self.explainer.explain(self.texts[i]).logit


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_of_a_data_loader():
    """They are forked, and set one thread for themselves."""
    if not commands.gradients_after_a_fork():
        pytest.skip("this torch computes no gradients in a forked process")
    explainer = textlrp.Explainer.demo()
    texts = ["A fine film.", "A dull film.", TEXT]
    loader = torch.utils.data.DataLoader(Explained(explainer, texts), batch_size=1, num_workers=2, timeout=300)
    logits = torch.cat(list(loader)).tolist()
    assert logits == pytest.approx([explainer.explain(text).logit for text in texts], abs=1e-5)

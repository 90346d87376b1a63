"""Values that are computed when they are asked for: once, and without a lock that an interrupt could leave held."""

import threading

from textlrp.basics.lazy import lazy


class Counted:
    def __init__(self, wait=None):
        self.times, self.wait = 0, wait

    @lazy
    def value(self):
        """How often it was computed."""
        self.times += 1
        if self.wait is not None:
            self.wait()
        return self.times


def test_a_value_is_computed_once_and_kept():
    one, other = Counted(), Counted()
    assert [one.value, one.value, other.value] == [1, 1, 1]
    assert vars(one)["value"] == 1
    assert Counted.value.__doc__ == "How often it was computed."


def test_nobody_waits_while_a_value_is_computed_elsewhere():
    begun, over = threading.Event(), threading.Event()
    slow = Counted(lambda: begun.set() or over.wait(60))
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert begun.wait(60)
    values = []
    quick = threading.Thread(target=lambda: values.append(Counted().value))
    quick.start()
    quick.join(30)
    over.set()
    thread.join(60)
    assert values == [1]

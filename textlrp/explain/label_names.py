"""What a label in data, in a download or on the command line is among a model's labels. Needs no torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textlrp.basics import options
from textlrp.basics.files import read_json
from textlrp.errors import InputError
from textlrp.render.format import named

_LISTED = 8

_NUMBERED = re.compile(r"label_(\d{1,6})", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")
_BETWEEN = re.compile("[,;|#]")

#: What programs write for a gap where they turn a column into texts.
_GAPS = ("nan", "<na>", "null", "n/a", "#n/a")

#: Many data sets write this for a label that they withhold.
_WITHHELD = -1


@dataclass(frozen=True)
class LabelReading:
    """How the labels of data are read.

    Attributes:
        names: for each label as the data writes it, the model's labels that it means: one, several joined ones, or none
            for a label that says "no label". Labels that the model does not have are left out.
        unknown: the labels of the data that are none of the model's.
        known: the model's labels.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def of(self, written: Iterable[str]) -> tuple[str, ...]:
        """Return the labels of a document in the model's names, each once; unknown ones stay as they are."""
        return tuple(dict.fromkeys(name for label in written for name in self.names.get(label, (label,))))

    @property
    def said(self) -> str:
        """What was read as what; empty if every label is written as the model writes it."""
        other = {label: names for label, names in self.names.items() if names != (label,)}
        other = {label: names for label, names in other.items() if label not in self.unknown}
        if not other:
            return ""
        meant = [" and ".join(map(named, names)) or "no label" for names in other.values()]
        verb = "label {} was read as {}" if len(other) == 1 else "labels {} were read as {}"
        return verb.format(_listed(map(_quoted, other)), _listed(meant))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was read as what, and which labels the model does not have."""
        said = [self.said] if self.said else []
        if self.unknown:
            verb = "label {} is none" if len(self.unknown) == 1 else "labels {} are none"
            none = verb.format(_listed(map(_quoted, self.unknown)))
            said.append(
                f"{none} of the model's ({_listed(map(named, self.known))}): --label-map "
                f"'{named(self.unknown[0])}=...' says which is meant"
            )
        return tuple(said)


def find_name(label: str, known: Sequence[str], aliases: Mapping[str, int] | None = None) -> int | None:
    """Return the index of the label that a name means, or None.

    That is the equal name; else the one that is equal without white space around it and in upper or lower case; else
    that of another name in the model's ``label2id``; else the one that ``LABEL_1`` numbers.

    Args:
        label: the name.
        known: the model's labels, in the order of its outputs.
        aliases: more names of the labels, with their indices.

    Raises:
        InputError: two labels differ only in case from the name.
    """
    for spelled in (label, label.strip()):
        if spelled in known:
            return known.index(spelled)
    plain = _plain(label)
    same = [i for i, name in enumerate(known) if _plain(name) == plain]
    if len(same) > 1:
        raise InputError(
            f"the label {label!r} can be {known[same[0]]!r} or {known[same[1]]!r}: write it as the model does, or add "
            f"--label-map '{label}={known[same[0]]}' for data"
        )
    if same:
        return same[0]
    meant = {i for name, i in (aliases or {}).items() if _plain(name) == plain and 0 <= i < len(known)}
    if len(meant) == 1:
        return meant.pop()
    number = _NUMBERED.fullmatch(plain)
    if number and int(number[1]) < len(known) and not any(_NUMBERED.fullmatch(_plain(name)) for name in known):
        return int(number[1])
    return None


def find_number(number: int, known: Sequence[str]) -> int | None:
    """Return the index of the only name in which a number stands, as 2 does in ``2 stars``, or None."""
    with_it = [i for i, name in enumerate(known) if number in _numbers(name)]
    return with_it[0] if len(with_it) == 1 and len(_numbers(known[with_it[0]])) == 1 else None


def read_labels(
    written: Iterable[str],
    known: Sequence[str],
    *,
    aliases: Mapping[str, int] | None = None,
    label_map: Mapping[str, str] | None = None,
    several: bool = False,
) -> LabelReading:
    """Read the labels of a data column in the model's names.

    Names are matched one by one (:func:`find_name`). Numbers are indices only where all labels of the column are
    numbers of outputs and can be nothing else: not numbers in the model's names (2 in ``2 stars``), nor numbers that
    count from 1. -1 and ``nan`` mean "no label".

    Args:
        written: the labels of the whole column, as they are written.
        known: the model's labels, in the order of its outputs; without any, all labels stay as they are.
        aliases: more names of the labels, with their indices (``label2id``).
        label_map: what labels mean, by the label; an empty text says "no label". It goes first.
        several: whether a document may have several labels, so that one text may join some (``joy;anger``).

    Raises:
        InputError: labels can be read in two ways, or are numbers that may count otherwise than the model does; the
            sentence shows the readings. Or the label map names a label that the model does not have.
    """
    distinct = list(dict.fromkeys(written))
    known = tuple(known)
    if not known:
        return LabelReading()
    mapped = {key: _mapped(key, name, known) for key, name in (label_map or {}).items()}
    settled = {label: mapped[key] for label in distinct if (key := _key_of(label, mapped)) is not None}
    names: dict[str, tuple[str, ...]] = {}
    rest: list[str] = []
    for label in distinct:
        if label in settled:
            names[label] = settled[label]
        elif (index := find_name(label, known, aliases)) is not None:
            names[label] = (known[index],)
        elif (number := as_number(label)) is not None and str(number) in known:
            names[label] = (str(number),)
        elif _plain(label) in _GAPS:
            names[label] = ()
        elif several and (joined := _joined(label, known, aliases)):
            names[label] = joined
        else:
            rest.append(label)
    free = [label for label in distinct if label not in settled and _plain(label) not in _GAPS]
    names |= _numbered(rest, free, names, known)
    ordered = {label: names[label] for label in distinct if label in names}
    return LabelReading(ordered, tuple(label for label in distinct if label not in names), known)


def parse_label_map(written: str) -> dict[str, str]:
    """Return a label map from ``'neg=NEG,2=2 stars'``, or from a JSON file of an object.

    Raises:
        InputError: it is neither, or the file cannot be read.
    """
    if written.lower().endswith(".json") or written.lstrip().startswith("{"):
        values = read_json(written)
        if not isinstance(values, dict) or not all(isinstance(name, (str, type(None))) for name in values.values()):
            raise InputError(
                f"{written!r} holds {options.brief(values)}, and a label map is an object of names: "
                f'{{"neg": "NEG", "2": "2 stars"}}'
            )
        return {str(key): name or "" for key, name in values.items()}
    pairs = [part.partition("=") for part in written.split(",") if part.strip()]
    wrong = next((key for key, sign, _ in pairs if not sign or not key.strip()), None)
    if wrong is not None or not pairs:
        raise InputError(
            f"a label map is written 'neg=NEG,2=2 stars', or names a JSON file; {wrong or written!r} has no '='; "
            f"labels with commas need a file"
        )
    return {key.strip(): name.strip() for key, _, name in pairs}


def as_number(label: str) -> int | None:
    """Return a label as a whole number, ``1.0`` as 1, or None."""
    stripped = label.strip()
    return int(stripped.partition(".")[0]) if _WHOLE.fullmatch(stripped) else None


def counts_otherwise(known: Sequence[str]) -> bool:
    """Return whether names have numbers that are not their indices (``1 star``), so that a number may mean a name."""
    return any(numbers - {i} for i, name in enumerate(known) if (numbers := _numbers(name)))


def _numbered(
    rest: Sequence[str], free: Sequence[str], names: Mapping[str, tuple[str, ...]], known: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Read the labels that are no names: those that are numbers, if the whole column is.

    Args:
        rest: the labels that are no names.
        free: all labels that no label map settles.
        names: what is read already.
        known: the model's labels.
    """
    values = {label: number for label in rest if (number := as_number(label)) is not None}
    withheld = {label: () for label, number in values.items() if number == _WITHHELD}
    values = {label: number for label, number in values.items() if number != _WITHHELD}
    column = {label: as_number(label) for label in free if label not in withheld}
    if not values or None in column.values() or len(known) < 2:
        return dict(withheld)
    numbers = [number for number in column.values() if number is not None]
    readings: dict[str, list[int]] = {}
    spelled = [find_number(number, known) for number in numbers]
    if None not in spelled:
        readings["as numbers in the names"] = [i for i in spelled if i is not None]
    count = len(known)
    if withheld and count == 2 and set(numbers) == {1}:
        readings["as -1 and 1"] = [*numbers, *[0] * len(withheld)]
    if all(0 <= number < count for number in numbers):
        readings["counted from 0"] = list(numbers)
    own = any(map(_numbers, known)) and not counts_otherwise(known)  # LABEL_0, LABEL_1
    if not own and all(1 <= number <= count for number in numbers):
        readings["counted from 1"] = [number - 1 for number in numbers]
    if withheld and count > 2 and sorted({*numbers, _WITHHELD}) == list(range(_WITHHELD, count - 1)):
        withheld_too = [*numbers, *[_WITHHELD] * len(withheld)]
        readings["counted from -1"] = [number + 1 for number in withheld_too]
    if not readings:
        return dict(withheld)
    sure = "as numbers in the names" if counts_otherwise(known) else "counted from 0"
    if sure not in readings or len({tuple(indices) for indices in readings.values()}) > 1:
        of_withheld = any(len(indices) > len(column) for indices in readings.values())
        raise _unclear([*column, *(withheld if of_withheld else ())], readings, known)
    found = dict(zip(column, readings[sure], strict=True))
    return {**withheld, **{label: (known[found[label]],) for label in values}}


def _unclear(labels: Sequence[str], readings: Mapping[str, Sequence[int]], known: Sequence[str]) -> InputError:
    different = {tuple(indices): how for how, indices in reversed(list(readings.items()))}
    said, maps = [], []
    for indices, how in list(reversed(list(different.items())))[:2]:
        pairs = list(zip(labels, indices, strict=False))
        said.append(f"{_listed(named(known[i]) for _, i in pairs)} ({how})")
        maps.append("'" + ",".join(f"{label.strip()}={known[i]}" for label, i in pairs[:_LISTED]) + "'")
    one = len(labels) == 1
    subject = f"the label {labels[0]!r} is a number" if one else f"the labels {_listed(labels)} are numbers"
    more = ", with the others, or a JSON file" if len(labels) > _LISTED else ""
    if len(said) == 1:
        return InputError(
            f"{subject} that the model's names {_listed(map(named, known))} do not explain: if {said[0]} is meant, add "
            f"--label-map {maps[0]}{more}"
        )
    return InputError(
        f"{subject} that can be read as {' or as '.join(said)}: say which with --label-map {' or '.join(maps)}{more}"
    )


def _key_of(label: str, mapped: Mapping[str, Any]) -> str | None:
    """Return the key of a label map that means a label: the equal one, or the same name in another case, or number."""
    if label.strip() in mapped:
        return label.strip()
    number = as_number(label)
    same = (key for key in mapped if _plain(key) == _plain(label) or (number is not None and as_number(key) == number))
    return next(same, None)


def _mapped(label: str, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    if not name.strip():
        return ()
    index = find_name(name, known)
    if index is None:
        raise InputError(
            f"the label map reads {label!r} as {name!r}, and the model has no such label: its labels are "
            f"{_listed(map(named, known))}"
        )
    return (known[index],)


def _joined(label: str, known: Sequence[str], aliases: Mapping[str, int] | None) -> tuple[str, ...] | None:
    """Return the labels that a text joins with a comma or the like, or None if it is not made of labels."""
    parts = [part for part in _BETWEEN.split(label) if part.strip()]
    found = [find_name(part, known, aliases) for part in parts]
    return tuple(known[i] for i in found if i is not None) if parts and None not in found else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).strip().casefold())


def _numbers(name: str) -> set[int]:
    return {int(digits) for digits in re.findall(r"\d{1,18}", name)}


def _quoted(label: str) -> str:
    """Return a label on one line; with quotation marks where white space at its ends would not be seen."""
    shown = named(label)
    return repr(shown) if shown != shown.strip() else shown


def _listed(names: Iterable[Any]) -> str:
    listed = list(names)
    more = f", ... ({len(listed)} in all)" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more

"""What nodes and relations of a user's graph are called: labels without doubles, and a sentence for each relation.

LIMIT: facts have a direction. A phrase that a reader takes both ways ("X and Y are neighbors") needs a file that
states both, or questions will not count the other way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from frontier_core.errors import DataError, UsageError
from frontier_core.nearest import did_you_mean
from validators.graphs import SEPARATOR, Relation

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_PREPOSITIONS = {"of", "in", "at", "to", "by", "from", "with", "on", "for", "as", "under", "over", "near", "than"}
_VERBS = {"is", "has", "was", "are", "had", "were", "can", "does", "did"}
_SLOT = re.compile(r"\b[XY]\b")


def local_name(text: str) -> str:
    """Gives the last part of an IRI, any other text as it is."""
    return re.split(r"[#/]", text.rstrip("/#"))[-1] or text if "://" in text else text


def labels_of(nodes: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Gives the labels of the nodes that aren't called by their id; every node ends up with a name of its own.

    Args:
        nodes: ids.
        given: labels the file states.
    """
    wanted = [_clean(given.get(node) or local_name(node)) or node for node in nodes]
    uses = Counter(wanted)
    taken = {name for name, count in uses.items() if count == 1}
    labels: dict[str, str] = {}
    for node, name in zip(nodes, wanted, strict=True):
        label, number = name, 1
        while uses[name] > 1 and label in taken:
            number += 1
            label = f"{name} ({number})"
        if uses[name] > 1:
            taken.add(label)
        if label != node:
            labels[node] = label
    return labels


def _clean(text: str) -> str:
    """On one line, and without what separates the names of a list."""
    return " ".join(text.split()).replace(SEPARATOR.strip(), ",")


def name_relations(relations: Sequence[str], phrases: Mapping[str, str]) -> dict[str, Relation]:
    """Gives name and sentence of each relation; no two read the same.

    Args:
        relations: ids.
        phrases: sentences with X and Y for some of them.
    """
    short = [_clean(local_name(relation)) for relation in relations]
    uses = Counter(short)
    names = [name if uses[name] == 1 else relation for name, relation in zip(short, relations, strict=True)]
    made = [phrases.get(relation) or default_phrase(name) for relation, name in zip(relations, names, strict=True)]
    doubles = Counter(made)
    return {
        relation: Relation(name, phrase if doubles[phrase] == 1 else _linked(name))
        for relation, name, phrase in zip(relations, names, made, strict=True)
    }


def default_phrase(name: str) -> str:
    """Gives a sentence for a relation's name: `capital_of` -> "X is capital of Y", `hasPart` -> "X has part Y".

    A name that neither begins with a verb nor ends in a preposition says nothing about how it would read in a
    sentence: `embassy` -> 'X is linked by "embassy" to Y'.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if len(words) > 1 and words[0] in _VERBS:
        return f"X {' '.join(words)} Y"
    if len(words) > 1 and words[-1] in _PREPOSITIONS:
        is_verb = words[0].endswith("s") and not words[0].endswith("ss")
        return f"X {' '.join(words)} Y" if is_verb else f"X is {' '.join(words)} Y"
    return _linked(name)


def _linked(name: str) -> str:
    # X and Y in the name itself would be taken for the places of head and tail.
    return f'X is linked by "{_SLOT.sub(lambda slot: slot[0].lower(), name)}" to Y'


def read_phrases(path: Path, relations: Sequence[str]) -> dict[str, str]:
    """Reads a phrases file, relation -> sentence; a relation goes by its id or its local name.

    Raises:
        UsageError: no such file.
        DataError: not such a mapping, an unknown relation, a sentence without one X and one Y, or one used twice.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{path}: no such file", hint="leave the phrases out to word relations by their names"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        raise DataError("not valid YAML", path=str(path), line=mark.line + 1 if mark else 0, code="yaml") from error
    if not isinstance(document, dict):
        raise DataError("needs lines `relation: X is the capital of Y`", path=str(path), code="phrases")
    by_name = {local_name(relation): relation for relation in relations} | {
        relation: relation for relation in relations
    }
    phrases: dict[str, str] = {}
    for key, phrase in document.items():
        where = f"/{key}"
        if str(key) not in by_name:
            hint = did_you_mean(str(key), sorted(by_name))
            raise DataError(
                f"the graph has no relation {key!r}", path=str(path), pointer=where, hint=hint, code="phrases"
            )
        if not isinstance(phrase, str) or sorted(_SLOT.findall(phrase)) != ["X", "Y"]:
            hint = 'as in: "X is the capital of Y"'
            raise DataError("needs X and Y once each", path=str(path), pointer=where, hint=hint, code="phrases")
        if phrase in phrases.values():
            raise DataError(f"two relations read {phrase!r}", path=str(path), pointer=where, code="phrases")
        phrases[by_name[str(key)]] = " ".join(phrase.split())
    return phrases


def _refuse(path: Path, message: str, pointer: str, hint: str) -> DataError:
    return DataError(message, path=str(path), pointer=pointer, hint=hint, code="phrases")

"Tables of arguments for API pages, from the comments that explain each argument where it stands."

import dataclasses
import inspect
import re
from enum import Enum
from typing import Any

from fastcore.docments import docments
from sphinx.application import Sphinx

NOTHING = inspect.Parameter.empty
BULLET = re.compile(r"\s*(?:[-*+]|\d+[.)]) +(?=\S)")
DOI = re.compile(r"(?<![/`\w])doi:\s?(10\.\d{4,9}/[^\s,]*[^\s,.;:)])(\)*)")


def plain(annotation: Any) -> str:
    "A type as one writes it: without the modules that it comes from."
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)


def as_type(annotation: Any) -> str:
    "A type in a cell of the table; a class of this package links to its own page."
    if annotation in (NOTHING, None):
        return ""
    if (
        inspect.isclass(annotation)
        and annotation.__module__.startswith("genomed_workbench")
        and not annotation.__name__.startswith("_")
    ):
        return f":py:class:`~{annotation.__module__}.{annotation.__qualname__}`"
    return f"``{plain(annotation)}``"


def as_value(value: Any) -> str:
    "A default value in a cell of the table."
    if value is NOTHING or str(value) == "<factory>":
        return ""
    text = (
        repr(value.value)
        if isinstance(value, Enum)
        else getattr(value, "__name__", None) or repr(value)
    )
    return f"``{text}``" if len(text) < 60 and " object at 0x" not in text else ""


def escaped(text: str) -> str:
    "Words that are not meant as reStructuredText: stars, bars and trailing underscores; a DOI becomes a link."
    words = re.split(r"(`[^`]*`)", text)
    kept = [
        part if part.startswith("`") else re.sub(r"([*|\\])|(?<=\w)(_)(?!\w)", r"\\\1\2", part)
        for part in words
    ]
    return DOI.sub(r"`doi:\1 <https://doi.org/\1>`__\2", "".join(kept))


def blocks(lines: list[str]) -> list[list[str]]:
    "The parts of a docstring: blank lines separate them; an example, a list and an indented text begin anew."
    found: list[list[str]] = [[]]
    for line in lines:
        if not line.strip() or (found[-1] and begins_anew(found[-1], line)):
            found.append([])
        if line.strip():
            found[-1].append(line)
    return [block for block in found if block]


def begins_anew(block: list[str], line: str) -> bool:
    "True where a line does not belong to the block above it, although no blank line separates them."
    if is_example(block):
        return False
    if line.lstrip().startswith(">>>"):
        return True
    if BULLET.match(block[0]):
        return not BULLET.match(line) and indent(line) <= indent(block[0])
    return bool(BULLET.match(line)) or indent(line) != indent(block[-1])


def indent(line: str) -> int:
    "Spaces before the first word."
    return len(line) - len(line.lstrip())


def is_example(block: list[str]) -> bool:
    "True for a doctest: its code and its output."
    return bool(block) and block[0].lstrip().startswith(">>>")


def prose(block: list[str]) -> list[str]:
    "A paragraph or a list with its words escaped; the word Example alone heads what follows."
    if [line.strip() for line in block] in (["Example"], ["Examples"]):
        return [".. rubric:: Example"]
    marks = [found[0] if (found := BULLET.match(line)) else "" for line in block]
    if not marks[0]:
        marks = [""] * len(block)
    rest = [line[len(mark) :] for line, mark in zip(block, marks, strict=True)]
    words = escaped("\n".join(rest)).split("\n")
    return [mark.replace("*", "-") + line for mark, line in zip(marks, words, strict=True)]


def as_rst(lines: list[str]) -> list[str]:
    "A docstring as reStructuredText: paragraphs escaped, examples as they stand and drawn as code."
    told: list[str] = []
    for block in blocks(lines):
        told += [*(block if is_example(block) else prose(block)), ""]
    return told


def explained(thing: Any) -> dict[str, dict[str, Any]]:
    "The arguments of a function or of a class's constructor: comment, type, default."
    if isinstance(thing, property) or not (callable(thing) or inspect.isclass(thing)):
        return {}
    try:
        found = docments(thing, full=True)
    except (
        TypeError,
        ValueError,
        OSError,
    ):  # no source and no signature: built in, or made by another library
        return {}
    for parent in getattr(thing, "__mro__", ())[1:]:
        if dataclasses.is_dataclass(parent):  # fields explained where they were first named
            for name, one in docments(parent, full=True).items():
                if name in found and not found[name]["docment"]:
                    found[name] = one
    constants = (
        {
            name
            for name, kind in getattr(thing, "__annotations__", {}).items()
            if "ClassVar" in str(kind)
        }
        if inspect.isclass(thing)
        else set()
    )
    return {
        name: dict(one) for name, one in found.items() if name not in ({"self", "cls"} | constants)
    }


def table(arguments: dict[str, dict[str, Any]]) -> list[str]:
    "The table in reStructuredText; nothing where there is nothing to tell."
    returns = arguments.pop("return", {})
    gives = returns.get("anno") not in (NOTHING, None, "None", type(None))
    rows = [
        (
            f"``{name}``",
            as_type(one["anno"]),
            as_value(one["default"]),
            escaped(one["docment"] or ""),
        )
        for name, one in arguments.items()
    ]
    if gives or returns.get("docment"):
        rows.append(
            (
                "*gives back*",
                as_type(returns.get("anno")),
                "",
                escaped(returns.get("docment") or ""),
            )
        )
    if not rows:
        return []
    heads = ("argument", "type", "default", "meaning")
    kept = [i for i in range(4) if i == 0 or any(row[i] for row in rows)]
    lines = ["", ".. list-table::", "   :header-rows: 1", "   :class: arguments", ""]
    for row in [heads, *rows]:
        lines += [
            f"   {'* -' if k == 0 else '  -'} {' '.join(row[i].split())}".rstrip()
            for k, i in enumerate(kept)
        ]
    return [*lines, ""]


def parents(thing: type) -> list[str]:
    "The classes of this package that a class extends."
    ours = [
        as_type(base) for base in thing.__bases__ if base.__module__.startswith("genomed_workbench")
    ]
    return ["", f"Extends {', '.join(ours)}."] if ours else []


def tell(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    "The docstring in plain words, then the table."
    if what == "module":
        lines.clear()  # the page begins with it
    if what in ("class", "exception", "method", "function", "property", "attribute", "data"):
        lines[:] = as_rst(lines)
    if what in ("class", "exception"):
        lines += parents(thing)
    if what in ("class", "exception", "method", "function"):
        lines += table(explained(thing))


def leave_out(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    "True for methods that another library writes into our classes."
    return (
        True
        if not getattr(
            inspect.unwrap(thing) if callable(thing) else thing, "__module__", "genomed_workbench"
        ).startswith("genomed_workbench")
        else None
    )


def setup(app: Sphinx) -> dict[str, Any]:
    "Called by autodoc for everything it documents."
    app.connect("autodoc-process-docstring", tell)
    app.connect("autodoc-skip-member", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

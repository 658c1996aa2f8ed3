"""Every public name says what it does, in more than a line, with an example that runs as it stands."""

import doctest
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import genomed_workbench as gw

NEED_TORCH = ("DeepSurv", "HazardNet")
WITH_METHODS = ("Cohort", "Federation", "Run", "Comparison")
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def documented() -> Iterator[tuple[str, Any]]:
    "Public names, and the public methods of the four classes that one works with."
    for name in gw.__all__:
        yield name, getattr(gw, name)
    for name in WITH_METHODS:
        for method, _ in inspect.getmembers(getattr(gw, name)):
            thing = inspect.getattr_static(getattr(gw, name), method)
            function = getattr(thing, "fget", None) or getattr(thing, "func", None) or thing
            is_ours = getattr(inspect.unwrap(function), "__module__", "")
            if not method.startswith("_") and str(is_ours).startswith("genomed_workbench"):
                yield f"{name}.{method}", getattr(thing, "__func__", thing)


DOCUMENTED = dict(documented())


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    "An example may write files."
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_it_says_what_it_does_and_its_example_runs(name):
    if name in NEED_TORCH:
        pytest.importorskip("torch", reason="the extra `torch` is not installed")
    text = inspect.getdoc(DOCUMENTED[name]) or ""
    assert len([line for line in text.splitlines() if line.strip()]) >= 3, "three lines or more"
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert examples.examples, "an example, in lines that begin with >>>"
    runner, said = doctest.DocTestRunner(optionflags=OPTIONS), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed = runner.run(examples, out=said.append).failed
    assert not failed, "".join(said)

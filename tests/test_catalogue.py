"The learners by name: every line of the catalogue against the class that it names, and words that cannot be meant."

import re
import subprocess
import sys

import pytest
from conftest import federate, in_hospitals, made_up
from sklearn.base import clone
from typer.main import get_command

import genomed_workbench as gw
from genomed_workbench.cli import app
from genomed_workbench.learners import catalogue
from genomed_workbench.learners.catalogue import (
    LEARNERS,
    NEEDED,
    entry_of,
    learner_class,
    learner_of,
    name_of,
)


@pytest.mark.parametrize("name", LEARNERS)
def test_each_line_is_true(name):
    "The class is there, learns what the line says, and is a public name."
    entry = entry_of(name)
    if not entry.installed:
        pytest.skip(f"the extra {entry.extra} is not installed")
    learner = learner_of(name)
    assert type(learner).__name__ == entry.class_name
    assert isinstance(learner, gw.Learner)
    assert learner.kind == entry.kind
    assert name_of(learner) == name_of(clone(learner)) == name
    assert type(learner) is getattr(gw, entry.class_name), "a public name"


def test_the_table_says_what_can_be_asked_for():
    table = gw.known_learners()
    assert list(table.index) == list(LEARNERS)
    assert set(table["extra"]) <= {"", *NEEDED}
    assert table.loc["cox", "installed"]


def test_a_table_of_an_experiment_file_becomes_a_learner():
    learner = learner_of({"learner": "cox", "penalty": 0.25})
    assert isinstance(learner, gw.CoxPH)
    assert learner.penalty == 0.25
    assert learner_of(learner) is learner
    assert federate(in_hospitals(*made_up(80), ["A"] * 40 + ["B"] * 40), learner).converged


def test_a_learner_made_of_others_names_them():
    asked = {
        "learner": "ensemble",
        "learners": ["forest", {"learner": "cox", "penalty": 0.5}, gw.DiscreteHazard()],
    }
    members = learner_of(asked).get_params(deep=False)["learners"]
    assert [name_of(one) for one in members] == ["forest", "cox", "discrete"]
    assert members[1].penalty == 0.5
    assert asked["learners"][0] == "forest", "what was asked is left as it was"
    with pytest.raises(gw.LearnerError, match="Did you mean 'forest'"):
        learner_of({"learner": "ensemble", "learners": ["forrest"]})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("foresst", "Did you mean 'forest'"),
        ("Cox", "Did you mean 'cox'"),
        ("lasso", "There is: 'cox'"),
        ({"learner": "cox", "penalti": 1}, "cox has no argument 'penalti'. Did you mean 'penalty'"),
        ({"penalty": 1}, "names no learner"),
        ({"learner": 3}, "names no learner"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_nearest_name(asked, words):
    with pytest.raises(gw.LearnerError, match=words):
        learner_of(asked)


def test_the_command_line_knows_each_name_and_says_so():
    options = get_command(app.app).commands["run"].params
    told = next(option.help for option in options if option.name == "model")
    assert set(LEARNERS) <= set(re.split(r"[ ,;]+", told))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    assert not catalogue.known_learners().loc["boosting", "installed"]
    with pytest.raises(
        gw.LearnerError,
        match=r'boosting needs the package xgboost.*pip install "genomed-workbench\[boost\]"',
    ):
        learner_class("boosting")


def test_the_catalogue_and_boosting_are_imported_without_what_they_may_need():
    script = (
        "import sys\nsys.modules['xgboost'] = None\n"
        "import genomed_workbench as gw\ngw.learner_of; gw.BoostedSurvival(trees=3).get_params()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

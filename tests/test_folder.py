"A trainee's folder: what was touched there survives every visit byte by byte, and what is new lies beside it."

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from genomed_workbench.teaching import folder as kit
from genomed_workbench.teaching import lesson as source
from genomed_workbench.teaching.folder import (
    MANIFEST,
    FolderError,
    Prepared,
    packaged,
    prepare_folder,
    read_manifest,
    version_beside,
)

LESSON = """
title = "A lesson"
question = "Does it stay?"
objectives = ["see it", "keep it", "say it"]
minutes = 30
series = 1
number = 1
needs = []
topics = ["learn"]
"""


def lesson_notebook(text: str) -> nbformat.NotebookNode:
    "A small lesson with an exercise, its key and a remark for the instructor."
    raw, md, code = (
        nbformat.v4.new_raw_cell,
        nbformat.v4.new_markdown_cell,
        nbformat.v4.new_code_cell,
    )
    cells = [
        raw(LESSON, metadata={"tags": ["lesson"]}),
        code('import genomed_workbench as gw\n\nlesson = gw.lesson("1.1")\nlesson'),
        md(f"## {text}"),
        raw("minutes = 30", metadata={"tags": ["teach"]}),
        code("# solution\nsecret = 7*6\n# end", metadata={"tags": ["exercise:secret"]}),
        code('lesson.key("secret", right=lambda: 42)', metadata={"tags": ["key"]}),
        code('lesson.check("secret")'),
    ]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"
    return nbformat.v4.new_notebook(cells=cells)


def plain_notebook(text: str) -> nbformat.NotebookNode:
    "A notebook that is no lesson, with a stored output."
    shown = nbformat.v4.new_code_cell(
        "1 + 1",
        id="two",
        execution_count=7,
        outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=7)],
    )
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell(f"# {text}", id="one"), shown]
    )


def write_package(place: Path, version: str) -> None:
    "The packaged lessons of one version."
    (place / "series1").mkdir(parents=True, exist_ok=True)
    for name in ("start", "glossary"):
        nbformat.write(plain_notebook(f"{name}, {version}"), place / f"{name}.ipynb")
    nbformat.write(lesson_notebook(f"Version {version}"), place / "series1" / "01_lesson.ipynb")
    (place / "series1" / "export.csv").write_text(f"patient,age\n1,{version}\n")


@pytest.fixture
def package(tmp_path, monkeypatch):
    "Stands for the installed package; call it with a version to install that."
    place = tmp_path / "package"
    for module in (kit, source):
        monkeypatch.setattr(module, "lesson_folder", lambda: place)

    def install(version: str) -> None:
        write_package(place, version)
        monkeypatch.setattr(kit, "own_version", lambda: version)

    install("0.1.0")
    return install


@pytest.fixture
def mine(tmp_path) -> Path:
    "The trainee's folder."
    return tmp_path / "mine"


def bytes_of(folder: Path) -> dict[str, bytes]:
    "All files of a folder but ours."
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    }


FIRST = ["glossary.ipynb", "series1/01_lesson.ipynb", "series1/export.csv", "start.ipynb"]
LESSON_COPY, BESIDE = "series1/01_lesson.ipynb", "series1/01_lesson (new 0.2.0).ipynb"


def test_the_first_visit(package, mine):
    done = prepare_folder(mine)
    assert (
        done.new == FIRST
        and not (done.back or done.renewed or done.kept or done.beside or done.notes)
        and done.start == "start.ipynb"
    )
    copy = nbformat.read(mine / LESSON_COPY, as_version=4)
    sources = "\n".join(cell.source for cell in copy.cells)
    assert (
        "42" not in sources
        and "7*6" not in sources
        and "secret = ..." in sources
        and "# 1.1 A lesson" in sources
        and "Version 0.1.0" in sources
    )
    assert [
        cell.outputs
        for cell in nbformat.read(mine / "start.ipynb", as_version=4).cells
        if cell.cell_type == "code"
    ] == [[]]
    assert json.loads((mine / "progress.json").read_text())["lessons"] == {}
    manifest = json.loads((mine / MANIFEST).read_text())
    assert manifest["version"] == "0.1.0" and sorted(manifest["copies"]) == FIRST
    assert all(
        manifest["copies"][path]["sha256"] == kit.digest((mine / path).read_bytes())
        for path in FIRST
    )


def test_a_second_visit_changes_nothing(package, mine):
    prepare_folder(mine)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in mine.rglob("*") if p.is_file()}
    done = prepare_folder(mine)
    assert done.same == FIRST and done.in_words() == []
    assert {
        p: (p.stat().st_mtime_ns, p.read_bytes())
        for p in mine.rglob("*")
        if p.is_file() and p.name != "lock"
    } == {p: v for p, v in before.items() if p.name != "lock"}


def test_untouched_copies_are_renewed(package, mine):
    prepare_folder(mine)
    package("0.2.0")
    done = prepare_folder(mine)
    assert done.renewed == FIRST and bytes_of(mine) == packaged() | {
        "progress.json": (mine / "progress.json").read_bytes()
    }


def test_work_survives_an_upgrade_byte_by_byte(package, mine):
    prepare_folder(mine)
    work = (
        (mine / LESSON_COPY)
        .read_bytes()
        .replace(b"...  # your answer", b"42  # found it \xc3\xa4\r\n")
    )
    (mine / LESSON_COPY).write_bytes(work)
    (mine / "thoughts.txt").write_bytes(b"my own \x00 thoughts")
    (mine / "progress.json").write_text(
        json.dumps(
            {"made_by": "genomed-workbench", "version": 1, "lessons": {"1.1": {"seconds": 60.0}}}
        )
    )
    progress = (mine / "progress.json").read_bytes()
    package("0.2.0")
    done = prepare_folder(mine)
    assert (
        done.kept == [LESSON_COPY]
        and done.beside == {LESSON_COPY: BESIDE}
        and done.renewed == [path for path in FIRST if path != LESSON_COPY]
    )
    assert (
        (mine / LESSON_COPY).read_bytes() == work
        and (mine / "thoughts.txt").read_bytes() == b"my own \x00 thoughts"
        and (mine / "progress.json").read_bytes() == progress
    )
    assert (mine / BESIDE).read_bytes() == packaged()[LESSON_COPY]
    assert (
        "new version beside yours: series1/01_lesson (new 0.2.0).ipynb" in done.in_words()
        and f"yours, left as they are: {LESSON_COPY}" in done.in_words()
    )


def test_work_on_the_present_version_is_offered_nothing(package, mine):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    done = prepare_folder(mine)
    assert (
        done.kept == [LESSON_COPY]
        and done.beside == {}
        and (mine / LESSON_COPY).read_bytes() == b"work"
    )


def test_a_new_version_is_offered_once(package, mine):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    prepare_folder(mine)
    assert prepare_folder(mine).beside == {}
    (mine / BESIDE).write_bytes(b"more work, in the new version")
    assert (
        prepare_folder(mine).beside == {}
        and (mine / BESIDE).read_bytes() == b"more work, in the new version"
    )
    (mine / BESIDE).unlink()
    assert prepare_folder(mine).beside == {} and not (mine / BESIDE).exists(), (
        "who throws it away is not bothered again"
    )
    package("0.3.0")
    assert (
        prepare_folder(mine).beside == {LESSON_COPY: "series1/01_lesson (new 0.3.0).ipynb"}
        and (mine / LESSON_COPY).read_bytes() == b"work"
    )


def test_two_changes_within_one_version(package, mine):
    "A developer's lessons change while the version stays: an untouched offer is renewed, a touched one gets a number."
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    prepare_folder(mine)
    nbformat.write(lesson_notebook("mended once"), source.lesson_folder() / LESSON_COPY)
    assert (
        prepare_folder(mine).beside == {LESSON_COPY: BESIDE}
        and b"mended once" in (mine / BESIDE).read_bytes()
    )
    (mine / BESIDE).write_bytes(b"worked in it")
    nbformat.write(lesson_notebook("mended twice"), source.lesson_folder() / LESSON_COPY)
    numbered = "series1/01_lesson (new 0.2.0, 2).ipynb"
    assert (
        prepare_folder(mine).beside == {LESSON_COPY: numbered}
        and b"mended twice" in (mine / numbered).read_bytes()
    )
    assert (mine / BESIDE).read_bytes() == b"worked in it" and (
        mine / LESSON_COPY
    ).read_bytes() == b"work"


def test_a_file_of_the_trainees_own_stands_there(package, mine):
    "Never written by us: theirs, also when the name of the new version is taken."
    (mine / "series1").mkdir(parents=True)
    (mine / LESSON_COPY).write_bytes(b"my own notebook")
    taken = "series1/01_lesson (new 0.1.0).ipynb"
    (mine / taken).write_bytes(b"also mine")
    done = prepare_folder(mine)
    assert done.kept == [LESSON_COPY] and done.beside == {
        LESSON_COPY: "series1/01_lesson (new 0.1.0, 2).ipynb"
    }
    assert (mine / LESSON_COPY).read_bytes() == b"my own notebook" and (
        mine / taken
    ).read_bytes() == b"also mine"


def test_deleted_files_come_back(package, mine):
    prepare_folder(mine)
    (mine / LESSON_COPY).unlink()
    (mine / "glossary.ipynb").unlink()
    done = prepare_folder(mine)
    assert done.back == ["glossary.ipynb", LESSON_COPY] and done.in_words() == [
        f"here again: glossary.ipynb, {LESSON_COPY}"
    ]
    assert bytes_of(mine) == packaged() | {"progress.json": (mine / "progress.json").read_bytes()}


def test_a_touched_start_notebook_opens_in_its_new_version(package, mine):
    prepare_folder(mine)
    (mine / "start.ipynb").write_bytes(b"run and saved")
    assert prepare_folder(mine).start == "start.ipynb"
    package("0.2.0")
    assert prepare_folder(mine).start == prepare_folder(mine).start == "start (new 0.2.0).ipynb"
    (mine / "start (new 0.2.0).ipynb").unlink()
    assert prepare_folder(mine).start == "start.ipynb"
    (mine / "start.ipynb").unlink()
    assert (
        prepare_folder(mine).start == "start.ipynb"
        and version_beside(mine, "start.ipynb", read_manifest(mine)) == ""
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"format": "1"}',
        '{"format": 1}',
        '{"format": 1, "copies": []}',
        '{"format": 1, "copies": {"series1/01_lesson.ipynb": "abc"}}',
        '{"format": 1, "copies": {"series1/01_lesson.ipynb": {"sha256": 5}}}',
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_broken_manifest_never_leads_to_an_overwrite(package, mine, text):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    (mine / MANIFEST).write_bytes(text.encode("latin-1"))
    package("0.2.0")
    before = bytes_of(mine)
    done = prepare_folder(mine)
    after = bytes_of(mine)
    assert {path: after[path] for path in before} == before, (
        "with no list, everything that differs from ours counts as the trainee's"
    )
    assert done.beside[LESSON_COPY] == BESIDE and after[BESIDE] == packaged()[LESSON_COPY]
    assert prepare_folder(mine).beside == {} and {path: after[path] for path in before} == before


def test_a_newer_manifest_is_left_alone(package, mine):
    prepare_folder(mine)
    (mine / MANIFEST).write_text('{"format": 99, "version": "7.0.0", "something": "else"}')
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    before = bytes_of(mine)
    done = prepare_folder(mine)
    assert bytes_of(mine) == before and json.loads((mine / MANIFEST).read_text())["format"] == 99
    assert (
        "7.0.0" in done.notes[0]
        and "pip install -U" in done.notes[0]
        and done.start == "start.ipynb"
    )


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_are_not_followed_out_of_the_folder(package, mine, tmp_path):
    outside = tmp_path / "outside"
    (outside / "series1").mkdir(parents=True)
    (outside / "start.ipynb").write_bytes(b"elsewhere")
    mine.mkdir()
    (mine / "series1").symlink_to(outside / "series1")
    (mine / "start.ipynb").symlink_to(outside / "start.ipynb")
    (mine / "glossary.ipynb").symlink_to(outside / "nothing.ipynb")
    done = prepare_folder(mine)
    assert (
        (mine / "start.ipynb").is_symlink()
        and (outside / "start.ipynb").read_bytes() == b"elsewhere"
        and (mine / "glossary.ipynb").is_symlink()
    )
    assert sorted(p.name for p in outside.rglob("*")) == ["series1", "start.ipynb"], (
        "nothing was written outside"
    )
    assert (
        set(done.kept) == {"start.ipynb", "glossary.ipynb"}
        and done.beside["start.ipynb"] == "start (new 0.1.0).ipynb"
    )
    assert len(done.notes) == 2 and all(
        "series1 is not a folder in here" in note for note in done.notes
    )


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_our_own_folder_must_not_be_a_link(package, mine, tmp_path):
    (tmp_path / "outside").mkdir()
    mine.mkdir()
    (mine / ".genomed").symlink_to(tmp_path / "outside")
    with pytest.raises(FolderError, match="is a link"):
        prepare_folder(mine)
    assert list((tmp_path / "outside").iterdir()) == [] and [p.name for p in mine.iterdir()] == [
        ".genomed"
    ]


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_a_link_to_the_folder_itself_is_fine(package, mine, tmp_path):
    (tmp_path / "disk").mkdir()
    mine.symlink_to(tmp_path / "disk")
    assert (
        prepare_folder(mine).new == FIRST
        and mine.is_symlink()
        and (tmp_path / "disk" / LESSON_COPY).is_file()
    )


def test_a_folder_stands_where_a_lesson_would_go(package, mine):
    (mine / LESSON_COPY).mkdir(parents=True)
    done = prepare_folder(mine)
    assert (
        done.kept == [LESSON_COPY]
        and (mine / LESSON_COPY).is_dir()
        and (mine / done.beside[LESSON_COPY]).is_file()
    )


def test_what_stands_in_the_way_is_said(package, tmp_path):
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(FolderError, match="is a file; expected a folder"):
            prepare_folder(place)
    assert (tmp_path / "file").read_text() == "precious"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".genomed").write_text("precious")
    with pytest.raises(FolderError, match="is a file; expected a folder of ours"):
        prepare_folder(tmp_path / "folder")
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "series1").write_text("precious")
    done = prepare_folder(tmp_path / "lessons")
    assert (
        (tmp_path / "lessons" / "series1").read_text() == "precious"
        and done.new == ["glossary.ipynb", "start.ipynb"]
        and "series1 is not a folder" in done.notes[0]
    )


def test_the_sources_are_no_folder_to_work_in(package):
    before = bytes_of(source.lesson_folder())
    for place in (source.lesson_folder(), source.lesson_folder() / "series1"):
        with pytest.raises(FolderError, match="sources of the lessons"):
            prepare_folder(place)
    assert bytes_of(source.lesson_folder()) == before


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (28, "disk is full"),
        (13, "may not write"),
        (30, "Nothing can be written"),
        (5, "Choose another folder"),
    ],
)
def test_what_the_file_system_refuses_is_said(package, mine, monkeypatch, number, says):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    before = bytes_of(mine)

    def refuse(path, content):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(kit, "write_bytes_atomically", refuse)
        with pytest.raises(FolderError, match=says):
            prepare_folder(mine)
    assert bytes_of(mine) == before
    assert prepare_folder(mine).beside == {LESSON_COPY: BESIDE}


@pytest.mark.skipif(
    os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0),
    reason="root may write everywhere",
)
def test_a_folder_that_cannot_be_written_to(package, mine):
    mine.mkdir()
    mine.chmod(0o500)
    with pytest.raises(FolderError, match="may not write"):
        prepare_folder(mine)
    mine.chmod(0o700)


def test_a_broken_progress_file_is_put_aside_and_said(package, mine):
    prepare_folder(mine)
    (mine / "progress.json").write_text("{half")
    done = prepare_folder(mine)
    assert (
        any("could not be read" in note for note in done.notes)
        and (mine / "progress.broken-1.json").read_text() == "{half"
    )


# --- more than one process

SCRIPT = """
    import os, signal, sys, time
    from pathlib import Path
    from genomed_workbench.teaching import folder as kit, lesson as source
    package, mine, version, after = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    kit.lesson_folder = source.lesson_folder = lambda: package
    kit.own_version = lambda: version
    write, count = kit.write_bytes_atomically, 0
    def writing(path, content):
        global count
        count += 1
        if count > after: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return write(path, content)
    kit.write_bytes_atomically = writing
    done = kit.prepare_folder(mine)
    print(len(done.new), len(done.renewed), len(done.beside))
"""


def visit(package: Path, mine: Path, version: str, after: int = 999) -> subprocess.Popen:
    "A visit by a process of its own, which is killed in the middle after so many files."
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(SCRIPT),
            str(package),
            str(mine),
            version,
            str(after),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_being_killed_in_the_middle_loses_nothing(package, mine):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    whole = packaged() | {
        LESSON_COPY: b"work",
        "progress.json": (mine / "progress.json").read_bytes(),
    }
    for after in range(4):
        killed = visit(source.lesson_folder(), mine, "0.2.0", after)
        assert killed.wait(60) == -signal.SIGKILL, "killed before the last file was written"
        now = bytes_of(mine)
        assert now[LESSON_COPY] == b"work" and all(
            b"0.1.0" in now[path] or now[path] == whole[path]
            for path in FIRST
            if path != LESSON_COPY
        )
        package("0.1.0")
        for path, content in packaged().items():
            if path != LESSON_COPY:
                (mine / path).write_bytes(content)
        (mine / BESIDE).unlink(missing_ok=True)
        package("0.2.0")
    visit(source.lesson_folder(), mine, "0.2.0", 2).wait(60)
    done = prepare_folder(mine)
    assert bytes_of(mine) == whole | {BESIDE: packaged()[LESSON_COPY]} and done.kept == [
        LESSON_COPY
    ]
    assert prepare_folder(mine).in_words() == [f"yours, left as they are: {LESSON_COPY}"]


@pytest.mark.slow
def test_several_at_a_time_are_harmless(package, mine):
    prepare_folder(mine)
    (mine / LESSON_COPY).write_bytes(b"work")
    package("0.2.0")
    visits = [visit(source.lesson_folder(), mine, "0.2.0") for _ in range(3)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in visits)
    assert [process.returncode for process in visits] == [0, 0, 0] and said == [
        "0 0 0",
        "0 0 0",
        "0 3 1",
    ], "one does it, the others find it done"
    assert bytes_of(mine) == packaged() | {
        LESSON_COPY: b"work",
        BESIDE: packaged()[LESSON_COPY],
        "progress.json": (mine / "progress.json").read_bytes(),
    }


# --- the real lessons


def test_the_real_lessons_hold_no_answers(mine):
    "No solution, key or instructor's remark reaches a trainee."
    done = prepare_folder(mine)
    assert {"start.ipynb", "glossary.ipynb", "00_first_federation.ipynb"} <= set(
        done.new
    ) and isinstance(done, Prepared)
    for path in (mine / name for name in done.new if name.endswith(".ipynb")):
        notebook = nbformat.read(path, as_version=4)
        assert not [
            cell
            for cell in notebook.cells
            if {"key", "teach", "lesson"} & set(cell.metadata.get("tags", []))
            or "# solution" in cell.source
        ], path.name
        assert not [
            cell
            for cell in notebook.cells
            if cell.cell_type == "code" and (cell.outputs or cell.execution_count)
        ], path.name
    assert not [name for name in done.new if "_slides" in name or ".ipynb_checkpoints" in name]
    assert prepare_folder(mine).in_words() == [], "the copies are the same bytes every time"

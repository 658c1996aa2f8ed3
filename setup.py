"Package metadata: everything comes from settings.ini, the one place where it is written."

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
_config = ConfigParser(delimiters=["="])
_config.read(HERE / "settings.ini", encoding="utf-8")
cfg = _config["DEFAULT"]


def data_packages(name: str, folder: str) -> dict[str, str]:
    "A folder of the repository that travels inside the package, and those below it: their names there, where they lie."
    below = sorted(
        p.name
        for p in (HERE / folder).iterdir()
        if p.is_dir() and p.name.isidentifier() and not p.name.startswith("__")
    )
    return {name: folder, **{f"{name}.{one}": f"{folder}/{one}" for one in below}}


def lines(key: str) -> list[str]:
    "The non-empty lines of a setting."
    return [line.strip() for line in cfg.get(key, "").splitlines() if line.strip()]


datasets = data_packages(f"{cfg['lib_path']}.datasets", "datasets")
files = [f"{cfg['lib_path']}.{one}" for one in ("clinic.dictionaries", "benchmarks.experiments")]
lessons = data_packages(f"{cfg['lib_path']}.lessons", "nbs/webinars")
extras = {
    key.removesuffix("_requirements"): lines(key) for key in cfg if key.endswith("_requirements")
}

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    author=cfg["author"],
    keywords=cfg["keywords"],
    python_requires=f">={cfg['min_python']}",
    packages=[*find_packages(include=[f"{cfg['lib_path']}*"]), *files, *datasets, *lessons],
    package_dir=datasets | lessons,
    package_data={
        cfg["lib_path"]: ["py.typed"],
        **{name: ["*.toml"] for name in files},
        **{name: ["*/card.toml", "*/*.csv", "*/*.json"] for name in datasets},
        **{name: ["*"] if name.endswith("._slides") else ["*.ipynb", "*.csv"] for name in lessons},
    },
    install_requires=lines("requirements"),
    extras_require=extras,
    entry_points={"console_scripts": lines("console_scripts")},
)

"Package metadata: everything comes from settings.ini, the one place where it is written."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
_config = ConfigParser(delimiters=["="])
_config.read(HERE / "settings.ini", encoding="utf-8")
cfg = _config["DEFAULT"]


def lines(key: str) -> list[str]:
    "The non-empty lines of a setting."
    return [line.strip() for line in cfg.get(key, "").splitlines() if line.strip()]


extras = {key.removesuffix("_requirements"): lines(key) for key in cfg if key.endswith("_requirements")}

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    author=cfg["author"],
    keywords=cfg["keywords"],
    python_requires=f">={cfg['min_python']}",
    packages=[*find_packages(include=[f"{cfg['lib_path']}*"]), f"{cfg['lib_path']}.datasets"],
    package_dir={f"{cfg['lib_path']}.datasets": "datasets"},
    package_data={f"{cfg['lib_path']}.datasets": ["*/card.toml", "*/*.csv"], cfg["lib_path"]: ["py.typed"]},
    install_requires=lines("requirements"),
    extras_require=extras,
    entry_points={"console_scripts": lines("console_scripts")},
)

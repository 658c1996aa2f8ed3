"Export the library, clean the notebooks, render the README: nothing may change. Prints what did, and fails."

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def state() -> str:
    "Everything git can see of the working tree: changed lines and new files."
    git = ["git", "-C", str(ROOT)]
    changed = subprocess.run(
        [*git, "diff", "HEAD"], capture_output=True, text=True, check=True
    ).stdout
    return (
        changed
        + subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True
        ).stdout
    )


def main() -> int:
    "0 if nothing drifted."
    if not (ROOT / ".git").exists():
        print("drift: not a git checkout, skipped")
        return 0
    before = state()
    for command in ([BIN / "nbdev-export"], [BIN / "nbdev-clean"]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    if (ROOT / ".ci/render_readme.py").exists():
        subprocess.run([sys.executable, ROOT / ".ci/render_readme.py"], cwd=ROOT, check=True)
    if state() == before:
        print("drift: none")
        return 0
    print("drift: export, clean and README rendering changed these files; commit what they made:")
    subprocess.run(["git", "-C", str(ROOT), "status", "--short"], check=False)
    return 1


if __name__ == "__main__":
    sys.exit(main())

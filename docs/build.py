"Build the site: stage the pages, then Sphinx with warnings as errors. `make docs` and the tests call this."

import argparse
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))


def main() -> int:
    "0 if the site was built without a warning."
    parser = argparse.ArgumentParser(
        description="Build the site from nbs/, datasets/ and the package."
    )
    parser.add_argument(
        "--staged",
        type=Path,
        default=DOCS / "_staged",
        help="folder for the pages that Sphinx reads",
    )
    parser.add_argument(
        "--out", type=Path, default=DOCS / "_build" / "html", help="folder for the site"
    )
    asked = parser.parse_args()
    from stage import stage_all

    start = time.perf_counter()
    asked.staged.mkdir(parents=True, exist_ok=True)
    pages = stage_all(asked.staged)
    strict = ["-W", "--keep-going", "-n"]
    places = ["-c", DOCS, "-d", asked.out.with_name("doctrees"), asked.staged, asked.out]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-b", "html", *strict, "-q", "-j", "2", *places],
        check=False,
    )
    if done.returncode:
        print("The site was not built: see the warnings above.", file=sys.stderr)
    else:
        print(f"{pages} pages in {time.perf_counter() - start:.0f} s: {asked.out / 'index.html'}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

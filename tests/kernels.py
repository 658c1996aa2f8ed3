"""Kernels that start quickly: a nursery imports the workbench once, and each notebook gets a real
kernel in a process forked from it.

A fork has what was imported and nothing else; what a notebook does stays in its own process.

    python kernels.py SOCKET          the nursery
    python kernels.py SOCKET FILE     what Jupyter starts for a connection file: stands for the kernel, and ends with it
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch


@contextmanager
def quick_kernels() -> Iterator[Callable[[Any, Path], Any]]:
    "A function that runs a notebook in a folder."
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as place:
        door, spec = f"{place}/door", Path(place, "kernels", "quick", "kernel.json")
        spec.parent.mkdir(parents=True)
        spec.write_text(
            json.dumps(
                {
                    "argv": [sys.executable, "-S", __file__, door, "{connection_file}"],
                    "display_name": "quick",
                    "language": "python",
                }
            )
        )
        with subprocess.Popen(
            [sys.executable, __file__, door], stdout=subprocess.PIPE, text=True
        ) as nursery:

            def execute(notebook: Any, folder: Path) -> Any:
                with patch.dict(os.environ, JUPYTER_PATH=place):
                    NotebookClient(
                        notebook,
                        timeout=600,
                        kernel_name="quick",
                        resources={"metadata": {"path": str(folder)}},
                    ).execute()
                return notebook

            try:
                assert nursery.stdout.readline() == "ready\n"
                yield execute
            finally:
                nursery.kill()


def nurse(door: str) -> None:
    "Import once, then fork a kernel for whoever knocks."
    import genomed_workbench as gw

    for name in ("ipykernel.kernelapp", "matplotlib.figure", "matplotlib_inline.backend_inline"):
        import_module(name)

    for name in gw.__all__:
        getattr(gw, name)
    assert threading.active_count() == 1, "a thread does not survive a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(door)
        listening.listen()
        print("ready", flush=True)
        while True:
            caller, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                be_kernel(caller)
            caller.close()


def be_kernel(caller: socket.socket) -> None:
    "Take over the caller's folder and environment, and be its kernel until one of the two ends."
    from ipykernel.kernelapp import launch_new_instance

    asked = json.loads(caller.makefile().readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    threading.Thread(target=lambda: (caller.recv(1), os._exit(1)), daemon=True).start()
    sys.argv, sys.path[0] = ["ipykernel_launcher", "-f", asked["file"]], ""
    launch_new_instance()
    os._exit(0)


def stand_for_kernel(door: str, file: str) -> None:
    "Ask for a kernel and wait for its end."
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(door)
        caller.sendall(
            (
                json.dumps({"file": file, "folder": os.getcwd(), "environment": dict(os.environ)})
                + "\n"
            ).encode()
        )
        caller.recv(1)


if __name__ == "__main__":
    (nurse if len(sys.argv) == 2 else stand_for_kernel)(*sys.argv[1:])

"""The start of a process of ours: ``python -P PATH/start_module.py MODULE ARGUMENT...``.

It runs a module as ``python -m`` does, and ``service`` and ``loadtest`` are always those beside this file.
"""

import os
import runpy
import sys


def _start() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.insert(0, root)
    for package in ("service", "loadtest"):
        __import__(package)
    del sys.path[0]
    from service.runtime.python_path import take_over

    take_over(os.environ)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _start()

"""Adapters from files and modules outside of this package."""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from loadtest.targets.base import Target
from loadtest.targets.blame import blame
from service.runtime.python_path import find_modules_here

__all__ = ["load_class", "module_from_file"]


def load_class(text: str) -> type[Target]:
    """Return the adapter of ``./mine.py``, ``./mine.py:Class`` or ``module:Class``; raises ValueError."""
    place, _, name = (text, "", "") if text.endswith(".py") else text.rpartition(":")
    try:
        module = module_from_file(Path(place)) if place.endswith(".py") else _named(place)
    except FileNotFoundError:
        raise ValueError(f"--target: there is no file {place}") from None
    except ImportError as error:
        raise ValueError(f"--target: {text}: {error}; modules are looked for here and in PYTHONPATH") from None
    except Exception as error:
        raise ValueError(blame(error, text, None)) from None
    return _named_class(module, name, text) if name else _only_class(module, text)


def module_from_file(path: Path) -> ModuleType:
    """Return what a file defines; raises what its code raises, FileNotFoundError among others."""
    if not path.is_file():
        raise FileNotFoundError(path)
    name = f"loadtest_file_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _named(name: str) -> ModuleType:
    find_modules_here()
    if not name:
        raise ImportError("there is no module's name before the colon")
    return import_module(name)


def _named_class(module: ModuleType, name: str, text: str) -> type[Target]:
    found = getattr(module, name, None)
    if found is None:
        raise ValueError(f"--target: {text}: there is no {name!r} in it")
    if not (isinstance(found, type) and issubclass(found, Target)):
        raise ValueError(f"--target: {text} is not a subclass of loadtest.targets.Target")
    return found


def _only_class(module: ModuleType, text: str) -> type[Target]:
    found = [
        one for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Target) and one.__module__ == module.__name__
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(one.__name__ for one in found) or "none"
        raise ValueError(
            f"--target: {text} has to have one subclass of Target; it has {names} (file.py:Class names one)"
        )
    return found[0]

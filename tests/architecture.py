"""The rules of the structure, as functions over a source tree, so that each can be seen to fail on a small one."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LAYERS = ("service.core", "service.upstream", "service.fetch", "service.edge", "service.lag", "service.statistics", "service.metrics", "service.settings", "service.logs",
          "service.notify", "service.app", "service.__main__")  # fmt: skip
"""From the bottom up: a module imports from its own layer and from those before it."""
IMPURE = frozenset({"asyncio", "time", "datetime", "random", "secrets", "os", "socket", "ssl", "logging", "threading",
                    "subprocess", "aiohttp", "uvloop", "selectors", "signal", "pathlib", "io", "sys"})  # fmt: skip
CLIENT = "service.client"
LONGEST = 300


@dataclass(frozen=True)
class Module:
    """One module, and what it imports."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    def imports(self, *, typing: bool = True) -> Iterator[str]:
        """Yield the modules that it imports; without ``typing``, not those that only type checkers see."""
        hidden = set() if typing else {id(node) for block in self._typing_blocks() for node in ast.walk(block)}
        for node in ast.walk(self.tree):
            if id(node) in hidden:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = ".".join([*self._package(node.level), *filter(None, [node.module])])
                yield source
                # What is imported may be a module itself; names that are none are no modules of ours.
                yield from (f"{source}.{alias.name}" for alias in node.names)

    def _package(self, level: int) -> list[str]:
        """Return the package that a relative import of this level begins in."""
        if not level:
            return []
        parts = self.name.split(".")
        return parts[: len(parts) + (self.path.name == "__init__.py") - level]

    def _typing_blocks(self) -> Iterator[ast.If]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                yield node


def read(root: Path, *packages: str) -> list[Module]:
    """Read every module of these packages of a folder."""
    modules = []
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        modules.append(Module(name, path, ast.parse(text), text.count("\n")))
    return modules


def layering(modules: list[Module]) -> list[str]:
    """Name imports that point to a higher layer, and what ``loadtest`` and the client take from ``service``."""
    wrong = []
    for module in modules:
        mine = _layer(module.name)
        for name in module.imports():
            if _of(module.name, CLIENT) and name.split(".")[0] == "service" and not _of(name, CLIENT):
                wrong.append(f"{module.name} imports {name}: the client knows the wire contract alone")
            if _of(name, CLIENT) and not _of(module.name, CLIENT):
                wrong.append(f"{module.name} imports {name}: the client is for other programs")
            if module.name.startswith("loadtest") and name.split(".")[0] == "service":
                wrong.append(f"{module.name} imports {name}: loadtest knows the wire contract alone")
            theirs = _layer(name)
            if mine is not None and theirs is not None and theirs > mine:
                wrong.append(f"{module.name} imports {name}, which is above it")
            if mine is not None and name.split(".")[0] in ("loadtest", "tests", "bench"):
                wrong.append(f"{module.name} imports {name}: the service stands alone")
    return wrong


def _layer(name: str) -> int | None:
    return next((n for n, layer in enumerate(LAYERS) if _of(name, layer)), None)


def _of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def purity(modules: list[Module]) -> list[str]:
    """Name what the core must not know: clocks, chance, sockets, logs, the loop."""
    return [
        f"{module.name} imports {name}"
        for module in modules
        if module.name.startswith("service.core")
        for name in module.imports()
        if name.split(".")[0] in IMPURE
    ]


def cycles(modules: list[Module]) -> list[str]:
    """Name the cycles of imports at run time."""
    graph = {module.name: set(module.imports(typing=False)) for module in modules}
    graph = {
        name: {target for target in targets if target in graph and target != name}
        for name, targets in graph.items()
    }
    done: set[str] = set()
    found: list[str] = []

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph[name]):
                walk(target, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())
    return found


def length(modules: list[Module]) -> list[str]:
    """Name modules that have grown beyond one noun."""
    return [f"{module.name} has {module.lines} lines" for module in modules if module.lines > LONGEST]


def docstrings(modules: list[Module]) -> list[str]:
    """Name public modules, classes and functions without a docstring."""
    wrong = []
    for module in modules:
        if ast.get_docstring(module.tree) is None:
            wrong.append(f"{module.name} has no docstring")
        wrong += [f"{module.name}.{name} has no docstring" for name in _undocumented(module.tree)]
    return wrong


def _undocumented(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith(
            "_"
        ):
            continue
        if ast.get_docstring(child) is None:
            yield child.name
        if isinstance(child, ast.ClassDef):
            yield from (f"{child.name}.{name}" for name in _undocumented(child))


RULES = (layering, purity, cycles, length, docstrings)

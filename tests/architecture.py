"""The rules of the structure, as functions over a source tree, so that each can be seen to fail on a small one."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ALLOWED: dict[str, tuple[str, ...]] = {
    "service.core": (),
    "service.runtime": ("service.core",),
    "service.storage": ("service.core", "service.runtime"),
    "service.upstream": ("service.__version__", "service.core", "service.runtime"),
    "service.work": ("service.core", "service.runtime", "service.upstream"),
    "service.jobs": ("service.core", "service.runtime"),
    "service.sources": ("service.core", "service.runtime", "service.upstream", "service.jobs", "service.work"),
    "service.edge.http": ("service.core", "service.runtime", "service.upstream"),
    "service.edge.access": ("service.core", "service.runtime", "service.upstream", "service.edge.http"),
    "service.edge.websocket": (
        "service.core",
        "service.runtime",
        "service.upstream",
        "service.edge.http",
        "service.edge.access",
    ),
    "service.edge.pipelines": (
        "service.core",
        "service.runtime",
        "service.upstream",
        "service.work",
        "service.edge.http",
        "service.edge.access",
        "service.edge.websocket",
    ),
    "service.edge.description": ("service.__version__", "service.core", "service.work", "service.edge.http"),
    "service.edge.routes": (
        "service.core",
        "service.runtime",
        "service.upstream",
        "service.sources",
        "service.jobs",
        "service.work",
        "service.edge.http",
        "service.edge.access",
        "service.edge.description",
    ),
    "service.edge": (),
    "service.ops": (
        "service.__version__",
        "service.core",
        "service.runtime",
        "service.storage",
        "service.upstream",
        "service.sources",
        "service.jobs",
        "service.work",
        "service.edge",
    ),
    "service.config": (
        "service.core",
        "service.runtime",
        "service.jobs",
        "service.storage",
        "service.work",
        "service.edge",
        "service.ops",
    ),
    "service.commands": (
        "service.core",
        "service.runtime",
        "service.storage",
        "service.upstream",
        "service.work",
        "service.edge.access",
    ),
    "service.app": (
        "service.core",
        "service.runtime",
        "service.storage",
        "service.upstream",
        "service.sources",
        "service.jobs",
        "service.work",
        "service.edge",
        "service.ops",
        "service.config",
    ),
    "service.serving": (
        "service.__version__",
        "service.runtime",
        "service.jobs",
        "service.storage",
        "service.work",
        "service.app",
        "service.ops",
        "service.config",
    ),
    "service.command_line": (
        "service.__version__",
        "service.serving",
        "service.ops",
        "service.config",
        "service.commands",
    ),
    "service.__main__": ("service.runtime", "service.ops", "service.command_line"),
    "service.client": (),
    "service": (),
    "loadtest": ("service.ops.standard_streams", "service.runtime.bounded_files", "service.runtime.python_path"),
}
"""What each package may import of ours, beside itself. The longest name counts; a package without a line fails."""
PURE = frozenset(
    {"array", "base64", "bisect", "collections", "dataclasses", "decimal", "enum", "functools", "hashlib", "heapq",
     "hmac", "ipaddress", "itertools", "json", "math", "operator", "re", "struct", "typing",
     "idna", "msgspec", "orjson"}
)  # fmt: skip
"""The modules that the core may import besides itself: none with a clock, chance, a socket, a log or the loop."""
COMMON = frozenset({"msgspec", "orjson"})
"""Third-party packages that every module may import."""
ENGINES: dict[str, tuple[str, ...]] = {
    "PIL": ("service.work.builtin.thumbnail", "service.work.pixels"),
    "_typeshed": ("service.ops.logs.writer",),
    "aiodns": ("service.upstream.guard",),
    "aiohappyeyeballs": ("service.upstream.http1.dialer",),
    "aiohttp": (
        "service.app.application", "service.client", "service.edge", "service.jobs.service_link",
        "service.ops.metrics.routes", "loadtest",
    ),
    "apsw": ("service.storage",),
    "backports": ("service.upstream.http1.codings", "service.work.file_counts.decoding"),
    "brotli": ("service.upstream.http1.codings", "loadtest.origin.hostile"),
    "cachetools": ("service.edge.access.tokens", "service.upstream.guard", "service.upstream.robots"),
    "celery": ("service.jobs.celery_app", "service.jobs.celery_broker", "service.jobs.worker"),
    "cryptography": ("service.edge.access.tokens",),
    "cssselect": ("service.upstream.content",),
    "cv2": ("service.work.pipelines.faceblur",),
    "hdrh": ("loadtest.histogram",),
    "hishel": ("service.upstream.caching",),
    "idna": ("service.core.fetching.target",),
    "jwt": ("service.edge.access.tokens",),
    "kombu": ("service.jobs.redis_tasks",),
    "lxml": ("service.upstream.content", "service.work.builtin"),
    "multidict": ("service.edge.http", "loadtest.endpoint"),
    "numpy": ("service.work.pipelines.faceblur",),
    "prometheus_client": ("service.ops.metrics", "loadtest.server"),
    "psutil": ("loadtest",),
    "py4j": ("service.work.file_counts.spark",),
    "pyspark": ("service.work.file_counts.spark",),
    "re2": ("service.work.patterns",),
    "rich": ("loadtest.live",),
    "uvloop": ("service.commands.fetch.command", "service.runtime.clock", "service.serving", "loadtest"),
    "yarl": ("service.client.transport", "loadtest.endpoint"),
}  # fmt: skip
"""Every other third-party package, and its adapters: the only modules and packages that may import it."""
TOP = frozenset({"service.__main__", "service.command_line", "service.serving"})
"""The modules directly in ``service``: the entrance and the process."""
CLIENT = "service.client"
LONGEST = 300
_PREDICATE = re.compile(
    r"^_?(is|are|has|may|can|should|must|needs|wants|knows|allows|distrusts|goes|runs|lacks)_|^_?(knows|allows)$"
    r"|_(allowed|full)$|^_?(waiting|pressed|idle|stale|expired|full)$"
)
_COMMANDS = frozenset(
    {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "move_to_end", "pop", "popitem",
     "popleft", "remove", "setdefault", "update", "cancel", "call_soon", "call_later", "call_at", "create_task",
     "start", "stop", "close", "end", "drop", "forget", "evict", "spend", "charge", "release", "put", "set"}
)  # fmt: skip
_SEVERAL = frozenset({"Connection", "Histogram", "Position", "Supervisor", "Tally", "Target"})
"""Names of the same thing in several places, and ``Target``, which users of ``--target`` derive from."""
_OURS = ("service", "loadtest", "tests", "bench")
_STANDARD = sys.stdlib_module_names | {"compression"}  # of Python 3.14


@dataclass(frozen=True)
class Module:
    """One module, and what it imports."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    def imports(self) -> Iterator[str]:
        """Yield the modules that it imports, and those that only type checkers see."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                source = ".".join([*self._package(node.level), *filter(None, [node.module])])
                yield source
                # The imported name may be a module itself; other names are not modules of ours.
                yield from (f"{source}.{alias.name}" for alias in node.names)

    def _package(self, level: int) -> list[str]:
        """Return the package that a relative import of this level begins in."""
        if not level:
            return []
        parts = self.name.split(".")
        return parts[: len(parts) + _is_package(self) - level]


def read(root: Path, *packages: str) -> list[Module]:
    """Read every module of these packages of a folder."""
    modules = []
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text()
        modules.append(Module(name, path, ast.parse(text), text.count("\n")))
    return modules


def layering(modules: list[Module]) -> list[str]:
    """Name modules without a line in the table, and imports that their line does not allow."""
    wrong = []
    for module in modules:
        mine = _package(module.name)
        if mine is None or (mine == "service" and module.name != "service"):
            wrong.append(f"{module.name} has no layer: ALLOWED needs a line for it")
            continue
        for name in module.imports():
            theirs = _package(name)
            if name.split(".")[0] in ("tests", "bench"):
                wrong.append(f"{module.name} imports {name}: what is shipped stands alone")
            elif theirs is not None and theirs != mine and not _allowed(mine, name):
                wrong.append(f"{module.name} imports {name}, which {mine} may not")
    return wrong


def _package(name: str) -> str | None:
    return max((package for package in ALLOWED if _of(name, package)), key=len, default=None)


def _allowed(mine: str, name: str) -> bool:
    # The name of a package alone: what is imported from it is named too.
    return any(_of(name, other) or _of(other, name) for other in (mine, *ALLOWED[mine]))


def _of(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def purity(modules: list[Module]) -> list[str]:
    """Name what the core must not know: clocks, chance, sockets, logs, the loop."""
    return [
        f"{module.name} imports {name}"
        for module in modules
        if _of(module.name, "service.core")
        for name in module.imports()
        if name.split(".")[0] not in PURE and not _of(name, "service")
    ]


def engines(modules: list[Module]) -> list[str]:
    """Name imports of third-party packages outside of their adapters, and packages without a line in the table."""
    return [
        f"{module.name} imports {name}, which only its adapters may"
        for module in modules
        for name in module.imports()
        if (package := name.split(".")[0]) not in (*COMMON, *_STANDARD, *_OURS)
        and not any(_of(module.name, adapter) for adapter in ENGINES.get(package, ()))
    ]


def top(modules: list[Module]) -> list[str]:
    """Name modules directly in ``service``, except the entrance and the process."""
    return [
        f"{module.name} belongs in a package"
        for module in modules
        if module.name.startswith("service.") and module.name.count(".") == 1 and not _is_package(module)
        if module.name not in TOP
    ]


def cycles(modules: list[Module]) -> list[str]:
    """Name the cycles of imports, also those that only types tie."""
    graph = {module.name: set(module.imports()) for module in modules}
    return _cycles(
        {
            name: {target for target in targets if target in graph and target != name}
            for name, targets in graph.items()
        }
    )


def folder_cycles(modules: list[Module]) -> list[str]:
    """Name the cycles of sibling folders; modules of a folder and its subfolders may import each other."""
    folders = {module.name: _folder(module) for module in modules}
    graph: dict[str, set[str]] = {folder: set() for folder in folders.values()}
    for module in modules:
        mine = folders[module.name]
        for theirs in {folders[name] for name in module.imports() if name in folders}:
            if not _of(mine, theirs) and not _of(theirs, mine):
                graph[mine].add(theirs)
    return _cycles(graph)


def _folder(module: Module) -> str:
    return module.name if _is_package(module) else module.name.rpartition(".")[0]


def _is_package(module: Module) -> bool:
    return module.path.name == "__init__.py"


def _cycles(graph: dict[str, set[str]]) -> list[str]:
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


def function_lengths(modules: list[Module]) -> Iterator[int]:
    """Yield how many lines the body of each function has, without its docstring."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                yield (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def ports(modules: list[Module]) -> list[str]:
    """Name ports of the service that take or give just anything; the values of a JSON object may be anything."""
    return [
        f"{module.name}.{node.name} has Any in line {line}"
        for module in modules
        if module.name.startswith("service.")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
        for line in _untyped(node)
    ]


def _untyped(node: ast.AST) -> Iterator[int]:
    if isinstance(node, ast.Subscript) and ast.unparse(node).endswith("[str, Any]"):
        return
    if isinstance(node, ast.Name) and node.id == "Any":
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _untyped(child)


def queries(modules: list[Module]) -> list[str]:
    """Name predicates that change something: ``is_...``, ``has_...``, ``may_...`` and their like only answer."""
    return [
        f"{module.name}.{node.name} is a question and changes something in line {line}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and _PREDICATE.search(node.name)
        for line in _changes(node)
    ]


def _changes(function: ast.FunctionDef) -> Iterator[int]:
    for node in ast.walk(function):
        stored = isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _COMMANDS
        if isinstance(node, ast.expr) and (stored or called):
            yield node.lineno


def names(modules: list[Module]) -> list[str]:
    """Name public classes whose name stands for several things: one word has one meaning.

    The client has its own classes for what the service sends, under the same names.
    """
    places: dict[str, list[str]] = {}
    for module in modules:
        if not module.name.startswith(CLIENT):
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(module.name)
    several = {name: where for name, where in places.items() if len(where) > 1 and name not in _SEVERAL}
    return [f"{name} stands for several things: {', '.join(where)}" for name, where in several.items()]


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
        # Overloads have that of what they are overloads of.
        overload = any(ast.unparse(one) == "overload" for one in child.decorator_list)
        if ast.get_docstring(child) is None and not overload:
            yield child.name
        if isinstance(child, ast.ClassDef):
            yield from (f"{child.name}.{name}" for name in _undocumented(child))


RULES = (layering, purity, engines, top, cycles, folder_cycles, length, ports, queries, names, docstrings)

"""Which contract holds the adapters of each port together, and which ports have none, with the reason."""

import ast
from pathlib import Path

__all__ = ["CONTRACTS", "WITHOUT", "uncontracted"]

CONTRACTS: dict[str, str] = {
    "BatchStore": "BatchStoreContract",
    "Broker": "BrokerContract",
    "Clock": "ClockContract",
    "Executor": "ExecutorContract",
    "FetchGroup": "TestContract",
    "FetchListener": "TestContract",
    "JobStore": "JobStoreContract",
    "Keeping": "KeepingContract",
    "Peer": "PeerContract",
    "ServiceLink": "ServiceLinkContract",
    "StageExecutor": "TestPlaceContract",
    "TopicStore": "TopicStoreContract",
    "WatchStore": "WatchStoreContract",
}
"""By port, the class of tests that its adapters and its fake pass."""
WITHOUT: dict[str, str] = {
    "Backend": "one adapter, the service; tests of sessions stand in for single methods of it",
    "History": "what a ring asks of a store's history: test_history.py",
    "Holder": "one method, which ends a connection",
    "LastingWrite": "as Write",
    "Lookup": "one adapter, c-ares; its fake answers from a table",
    "MessageHandler": "two methods, which take what a client sends",
    "Opener": "one adapter, the client's link",
    "Pinged": "what the heartbeat needs of a connection",
    "Reporter": "one adapter, the socket of a slot's process",
    "Runs": "one adapter, the slots; its fake is held by test_worker_attempt.py",
    "Sheddable": "one method, which cuts readers",
    "StartedBatch": "attributes of a batch",
    "StorageHealth": "one attribute",
    "ViewSink": "one adapter, the watches; its fake in test_polls.py fails",
    "VisitedReader": "what a visit needs of a reader: test_fanout_model.py covers all readers",
    "VisitedTopic": "what a visit needs of a topic",
    "WatchInterest": "attributes of a watch",
    "Wire": "one adapter, the client's connection",
    "Write": "a change to be stored; each kind of change is a class of its own",
}
"""Ports without a contract of their own."""


def uncontracted(root: Path) -> list[str]:
    """Name ports in neither table or in both, entries that are not ports, and contracts that do not exist."""
    ports = {
        node.name
        for node in _classes(root / "service")
        if not node.name.startswith("_") and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    }
    tests = {node.name for node in _classes(root / "tests")}
    return [
        *(f"{port} has neither a contract nor a reason" for port in sorted(ports - {*CONTRACTS, *WITHOUT})),
        *(f"{port} is not a port" for port in (*CONTRACTS, *WITHOUT) if port not in ports),
        *(f"{port} has two entries" for port in CONTRACTS if port in WITHOUT),
        *(f"{name} does not exist" for name in CONTRACTS.values() if name not in tests),
    ]


def _classes(folder: Path) -> list[ast.ClassDef]:
    return [
        node
        for path in sorted(folder.rglob("*.py"))
        for text in [path.read_text()]
        if "Protocol" in text or "Contract" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    ]

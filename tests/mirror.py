"""Which test module holds the decisions of each module of the service.

A module ``service/A/.../NAME.py`` has ``tests/A/.../test_NAME.py``, in any folder below ``tests``. What is tested
under another name stands in TESTED_IN, and what decides nothing in UNDECIDED, each with its reason.
"""

from pathlib import Path

__all__ = ["TESTED_IN", "UNDECIDED", "unmirrored"]

TESTED_IN: dict[str, tuple[str, ...]] = {
    "edge/http/json_answer": ("test_topic_routes", "test_steps"),
    "core/jobs/answers": ("test_job_answers", "test_documents"),
    "core/jobs/store": ("test_job_store",),
    "edge/description/job_operations": ("test_documents",),
    "jobs/attempts": ("test_jobs",),
    "jobs/changes": ("test_jobs",),
    "jobs/executor": ("test_jobs",),
    "jobs/figures": ("test_jobs",),
    "jobs/job_keys": ("test_jobs",),
    "jobs/job_topics": ("test_jobs",),
    "jobs/lanes": ("test_jobs",),
    "jobs/registry": ("test_slots",),
    "jobs/slot": ("test_slots",),
    "jobs/slot_messages": ("test_slots",),
    "jobs/slot_process": ("test_slots",),
    "jobs/views": ("test_job_routes",),
    "runtime/awaiting": ("test_jobs",),
    "sources/call_jobs": ("test_job_routes",),
    "sources/fetch_jobs": ("test_job_routes",),
    "sources/publish_jobs": ("test_job_routes",),
    "runtime/signals": ("test_start_signals", "test_data_commands"),
    "storage/damage": ("test_recovery",),
    "work/blob_files": ("test_blobs",),
    "work/errands": ("test_worker_pool",),
    "work/opening": ("test_step_runner",),
    "work/worker": ("test_worker_pool",),
    "work/worker_process": ("test_worker_pool",),
    "app/application": ("test_serve", "test_documents"),
    "app/composition": ("test_serve", "test_drain"),
    "app/service": ("test_serve", "test_drain"),
    "serving": ("test_logs", "test_serve"),
    "__main__": ("test_settings", "test_command"),
    "command_line": ("test_settings", "test_command"),
    "client/connection": ("test_wire", "test_transport"),
    "client/credentials": ("test_client", "test_vectors"),
    "client/encoding": ("test_outgoing", "test_wire"),
    "client/feed": ("test_subscription", "test_model"),
    "client/link": ("test_client", "test_histories"),
    "client/renewal": ("test_vectors",),
    "client/stream": ("test_subscription", "test_client"),
    "client/values": ("test_cursor",),
    "commands/data/listing": ("test_data_commands",),
    "commands/fetch/index": ("test_folder",),
    "commands/fetch/progress": ("test_tally",),
    "commands/fetch/group": ("test_run",),
    "commands/fetch/tree": ("test_folder",),
    "commands/fetch/types": ("test_names",),
    "commands/units": ("test_tally",),
    "config/configuration": ("test_settings",),
    "config/jwt_keys": ("test_settings",),
    "core/fetching/backlog": ("test_plan", "test_plan_queries"),
    "core/fetching/outcome": ("test_batches", "test_fetch_port"),
    "core/sessions/subscriptions": ("test_session", "test_session_grants"),
    "core/topics/directory": ("test_hub", "test_late_store"),
    "core/topics/memory_store": ("test_topic_store",),
    "core/topics/position": ("test_topic",),
    "core/topics/pending_appends": ("test_pending", "test_late_store"),
    "edge/access/credentials": ("test_middleware", "test_claims"),
    "edge/access/origins": ("test_middleware",),
    "edge/description/asyncapi": ("test_documents",),
    "edge/description/openapi": ("test_documents",),
    "edge/description/operations": ("test_documents",),
    "edge/description/schemas": ("test_documents",),
    "edge/http/listening": ("test_acceptor", "test_serve"),
    "edge/http/problems": ("test_documents",),
    "edge/http/request_body": ("test_bodies",),
    "edge/routes/health": ("test_drain", "test_overload"),
    "edge/routes/topics": ("test_topic_routes",),
    "edge/websocket/connection": ("test_websocket", "test_fanout_model"),
    "edge/websocket/conversation": ("test_websocket",),
    "edge/websocket/echo": ("test_websocket",),
    "edge/websocket/push_reader": ("test_websocket", "test_fanout_model"),
    "ops/activity": ("test_stats_topic",),
    "ops/logs/complaints": ("test_logs",),
    "ops/logs/lines": ("test_logs",),
    "ops/logs/throttle": ("test_logs",),
    "ops/metrics/families": ("test_metrics",),
    "ops/metrics/fanout": ("test_metrics",),
    "ops/metrics/fetching": ("test_metrics",),
    "ops/metrics/load": ("test_metrics",),
    "ops/metrics/routes": ("test_metrics",),
    "ops/metrics/shares": ("test_metrics",),
    "ops/metrics/work": ("test_steps",),
    "edge/pipelines/routes": ("test_pipelines",),
    "work/pipelines/in_process": ("test_places",),
    "work/pipelines/stage_calls": ("test_places",),
    "work/pipelines/opening": ("test_pipelines", "test_declaration"),
    "runtime/directories": ("test_blobs", "test_data"),
    "sources/charged_batches": ("test_retention",),
    "sources/held_batches": ("test_retention",),
    "sources/outcomes": ("test_batches", "test_stepping"),
    "sources/acceptance": ("test_batches", "test_batches_on_disk"),
    "sources/finished_batches": ("test_retention", "test_batches_on_disk"),
    "sources/lifetimes": ("test_batches", "test_batches_on_disk"),
    "sources/restoring": ("test_batches_on_disk",),
    "storage/log_items": ("test_batches_on_disk",),
    "storage/log_recovery": ("test_batches_on_disk", "test_damaged_batches"),
    "storage/log_rows": ("test_batches_on_disk",),
    "storage/log_store": ("test_batches_on_disk",),
    "storage/reads": ("test_batches_on_disk",),
    "storage/trial": ("test_writer",),
    "core/batch_events": ("test_documents", "test_events"),
    "core/batch_store": ("test_history",),
    "storage/commit_count": ("test_reader", "test_database"),
    "storage/directory": ("test_data",),
    "storage/kept_topics": ("test_topic_store",),
    "storage/key_rows": ("test_topic_store",),
    "storage/opening": ("test_data",),
    "storage/routed_store": ("test_topic_store",),
    "storage/scan": ("test_recovery", "test_batches_on_disk"),
    "storage/storage": ("test_topic_store", "test_data"),
    "storage/sweep": ("test_topic_store",),
    "storage/tables": ("test_database",),
    "storage/wall_clock": ("test_topic_store",),
    "ops/metrics/storage": ("test_data",),
    "sources/watch": ("test_watches",),
    "upstream/attempts": ("test_measures", "test_correlation", "test_batches", "test_one_bad_item"),
    "upstream/caching/rfc9111": ("test_cache",),
    "upstream/content/element_text": ("test_selecting",),
    "upstream/content/json_pointer": ("test_selecting",),
    "upstream/content/labels": ("test_charset",),
    "upstream/content/markup": ("test_selecting",),
    "upstream/content/result_events": ("test_bodies",),
    "upstream/content/selection": ("test_selecting",),
    "upstream/content/selection_process": ("test_selecting",),
    "upstream/http1/chunks": ("test_reader",),
    "upstream/http1/connection": ("test_connections",),
    "upstream/http1/dialer": ("test_connections", "test_guard"),
    "upstream/http1/greetings": ("test_reader",),
    "upstream/http1/head": ("test_reader",),
    "upstream/runner": ("test_batches", "test_waits", "test_model"),
}
"""Modules that are tested through what uses them, and where."""
UNDECIDED: dict[str, str] = {
    "client/errors": "exceptions",
    "client/timers": "a name for the loop's timers",
    "config/granting": "a record made from settings",
    "config/limits": "records made from settings",
    "core/errors": "exceptions; tests/test_project.py compares them with the protocol",
    "core/owner": "a name with two fields",
    "core/ports": "protocols",
    "core/sessions/closing": "a table; tests/test_project.py compares it with the protocol",
    "core/topics/reader_losses": "counters",
    "edge/websocket/counters": "counters",
    "storage/errors": "exceptions",
    "work/answers": "values",
    "work/pipelines/figures": "counters",
    "work/pipelines/item": "values",
    "storage/statistics": "values",
    "sources/batches_statistics": "values",
    "storage/items": "a port",
    "upstream/content/select_failed": "an exception",
    "upstream/http1/errors": "exceptions",
}
"""Modules without a decision of their own, and what they are."""


def unmirrored(root: Path) -> list[str]:
    """Name the modules whose tests cannot be found, and the entries above that are out of date."""
    tests = {path.stem for path in (root / "tests").rglob("test_*.py")}
    modules = {
        path.relative_to(root / "service").with_suffix("").as_posix(): f"test_{path.stem}"
        for path in (root / "service").rglob("*.py")
        if path.name != "__init__.py"
    }
    entries = (*TESTED_IN, *UNDECIDED)
    return [
        *(
            f"service/{module}.py decides something and has no {test}.py; see tests/mirror.py"
            for module, test in sorted(modules.items())
            if test not in tests and module not in entries
        ),
        *(f"{module}: service/{module}.py does not exist" for module in entries if module not in modules),
        *(f"{module}: {modules[module]}.py exists" for module in entries if modules.get(module) in tests),
        *(f"{module}: it has two entries" for module in TESTED_IN if module in UNDECIDED),
        *(
            f"{module}: {test}.py does not exist"
            for module, others in TESTED_IN.items()
            for test in others
            if test not in tests
        ),
    ]

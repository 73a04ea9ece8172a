"""Which processes a server consists of. Workers need this without the HTTP client that ``server.py`` has."""

from urllib.parse import urlsplit

import psutil

__all__ = ["listening_processes"]


def listening_processes(url: str, pid: int = 0) -> list[psutil.Process]:
    """Return the process that listens where a URL of this machine points, and its children."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        if not pid and parts.hostname in ("localhost", "127.0.0.1", "::1"):
            listening = psutil.net_connections("tcp")
            pids = [
                one.pid
                for one in listening
                if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid
            ]
            pid = min(pids, default=0)
        process = psutil.Process(pid) if pid else None
        return [process, *process.children(recursive=True)] if process else []
    except psutil.Error:
        return []

"""The command line of ``sluice fetch``."""

import os
import resource
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from service.core.address import DEFAULT_PORTS, Policy
from service.core.batch import Options, check_headers
from service.fetch.tally import DEFAULT_FAIL_ON
from service.upstream.guard import own_addresses

__all__ = ["add_options", "fitting_concurrency", "options_of", "policy_of"]

_LARGEST = 64 << 20
_DESCRIPTION = """\
Fetch URLs, many at once, with the limits and the address guard of the service.

For each URL one line of JSON goes to standard output as it finishes, and a last one has the counts; when that is
a terminal, only a progress bar and a summary are shown, unless --json asks for the lines. With --output every body
becomes a file, DIR/host/path.ext, listed in DIR/index.ndjson; the same command again fetches what is missing.
"""
_EPILOG = """\
INPUT
  A file has one URL a line, in UTF-8 or UTF-16. Blank lines and lines that begin with # are passed over. A URL that
  stands there several times is fetched once and reported each time. Without URLs and -i, standard input is read
  unless it is a terminal.

EXIT CODES
  0    everything was answered with a status below 400 (or as --fail-on says)
  1    a URL failed or was answered 400 or more (or as --fail-on says), or results could not be written
  2    the command line, the list or the folder cannot be used; nothing was fetched
  130  interrupted (Ctrl-C, SIGTERM); what was saved stays, and the same command goes on
  141  the reader of standard output has gone, as in "| head"

EXAMPLES
  sluice fetch https://example.com/ --json
  sluice fetch -i urls.txt -o pages
  sluice fetch -i urls.txt --body none --fail-on failed,5xx > results.ndjson
"""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = RawDescriptionHelpFormatter
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL")
    add("-i", "--input", metavar="FILE", help="read URLs from a file, one a line; - is standard input")
    add(
        "-o",
        "--output",
        metavar="DIR",
        help="save bodies as files there; what is there already is not fetched again",
    )
    add(
        "--verify",
        action="store_true",
        help="with --output: compare SHA-256 of files, not only sizes, to skip them",
    )
    add("--json", "--ndjson", action="store_true", help="print a line of JSON for each URL on a terminal too")
    add("-q", "--quiet", action="store_true", help="show no progress and no summary")
    conditions = f"what makes the exit code 1: none, any, failed, 4xx, 404, timeout... (default {DEFAULT_FAIL_ON})"
    add("--fail-on", metavar="LIST", default=DEFAULT_FAIL_ON, help=conditions)
    add("--concurrency", type=int, default=100, metavar="N", help="requests at once (default 100, at most 10000)")
    add("--per-host", type=int, default=20, metavar="N", help="requests at once to one host (default 20)")
    add(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds for one URL, retries included (default 10)",
    )
    add("--retries", type=int, default=2, metavar="N", help="further attempts after a passing failure (default 2)")
    add("--redirects", type=int, default=5, metavar="N", help="redirects to follow (default 5)")
    larger = "bytes of one body: longer ones are cut (default 1048576), with --output they fail (default 67108864)"
    add("--max-bytes", type=int, metavar="N", help=larger)
    bodies = ("auto", "text", "base64", "none")
    add(
        "--body",
        choices=bodies,
        default="auto",
        help="how bodies are put into lines (default auto: text or base64)",
    )
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="request header (repeatable)")
    net = "network (CIDR) that may be reached beside public addresses (repeatable; SLUICE_ALLOW_NET)"
    add("--allow-net", action="append", metavar="NET", help=net)
    port = "port that may be used beside 80, 443, 8080 and 8443 (repeatable; SLUICE_ALLOW_PORT)"
    add("--allow-port", action="append", metavar="PORT", help=port)


def options_of(options: Namespace) -> Options:
    """Return what holds for every request. Raises ValueError that names the option."""
    headers = _headers(options.header)
    bounds = {
        "--concurrency": (options.concurrency, 1, 10_000),
        "--per-host": (options.per_host, 1, 10_000),
        "--timeout": (options.timeout, 0.001, 86_400),
        "--retries": (options.retries, 0, 100),
        "--redirects": (options.redirects, 0, 100),
        "--max-bytes": (options.max_bytes if options.max_bytes is not None else 1, 1, 1 << 30),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise ValueError(f"{name}: {value} is not between {least} and {most}")
    return Options(
        body=options.body,
        max_bytes=options.max_bytes or (_LARGEST if options.output else 1 << 20),
        timeout=options.timeout,
        retries=options.retries,
        concurrency=options.concurrency,
        redirects=options.redirects,
        cache="no-store",
        headers=headers,
    )


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"--header: {line!r} has no colon")
        headers[name.strip()] = value.strip()
    if wrong := check_headers(headers):
        raise ValueError(f"--header: {wrong}")
    return headers


def policy_of(options: Namespace, environ: Mapping[str, str] = os.environ) -> Policy:
    """Return what may be reached. Raises ValueError that names the option."""
    nets, ports = (
        given if given is not None else [part.strip() for part in environ.get(name, "").split(",") if part.strip()]
        for given, name in ((options.allow_net, "SLUICE_ALLOW_NET"), (options.allow_port, "SLUICE_ALLOW_PORT"))
    )
    try:
        networks = tuple(map(ip_network, nets))
    except ValueError as error:
        raise ValueError(f"--allow-net: {error}") from None
    for port in ports:
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError(f"--allow-port: {port!r} is not a port")
    return Policy(nets=networks, ports=DEFAULT_PORTS | frozenset(map(int, ports)), own=own_addresses())


def fitting_concurrency(wanted: int) -> int:
    """Return how many requests fit the limit of open files, which is raised as far as it may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    # Beside connections: the standard streams, the loop, resolvers, and what the saving threads open.
    return max(1, min(wanted, hard - 50))

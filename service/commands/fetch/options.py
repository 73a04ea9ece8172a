"""The command line of ``sluice fetch``."""

import os
import resource
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from ipaddress import ip_network

from service.commands.fetch.stepping import read_steps
from service.commands.fetch.tally import DEFAULT_FAIL_ON
from service.core.fetching.dial_policy import DEFAULT_PORTS, Policy
from service.core.fetching.headers import check_headers
from service.core.fetching.request import Options
from service.upstream.guard import own_addresses

__all__ = ["add_options", "fitting_concurrency", "options_of", "policy_of"]

_LARGEST = 64 << 20
_FEWEST_FILES = 32
"""Open files with which one request at a time works."""
_DESCRIPTION = """\
Fetch URLs concurrently, with the limits and the address guard of the service.

Writes one line of JSON for each URL to standard output as it finishes, and a
last line with the counts. On a terminal it shows a progress bar and a summary
instead; --json prints the lines there too. With --output, each body is saved
as DIR/host/path.ext and listed in DIR/index.ndjson; running the same command
again fetches only what is missing.
"""
_EPILOG = """\
INPUT
  A list has one URL per line, in UTF-8 or UTF-16. Blank lines and lines that
  start with # are ignored. A URL that is listed several times is fetched once
  and reported for each line. Without URLs and --input, the list is read from
  standard input, unless that is a terminal.

EXIT CODES
  0    all URLs were answered with a status below 400 (see --fail-on)
  1    a URL failed or was answered with 400 or more (see --fail-on), or the
       results could not be written
  2    the command line, the list or the folder cannot be used
  130  interrupted (Ctrl-C, SIGTERM); what was saved is kept
  141  the reader of standard output has closed it, as "| head" does

EXAMPLES
  sluice fetch --json https://example.com/
  sluice fetch -i urls.txt -o pages
  sluice fetch -i urls.txt --body none --fail-on failed,5xx > results.ndjson
"""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = RawDescriptionHelpFormatter
    add = parser.add_argument
    add("urls", nargs="*", metavar="URL", help="http or https URL")
    add(
        "-i",
        "--input",
        action="append",
        metavar="FILE",
        help="read URLs from FILE, one per line; - is standard input",
    )
    add("-o", "--output", metavar="DIR", help="save bodies as files in DIR, and skip those that are there already")
    add(
        "--verify",
        action="store_true",
        help="with --output: skip a file only if its SHA-256 is right, not only its size",
    )
    add("--json", "--ndjson", action="store_true", help="print the JSON lines even to a terminal")
    add("-q", "--quiet", action="store_true", help="show neither progress nor summary")
    conditions = "none, any, failed, 4xx, 404, timeout and so on, separated by commas"
    add("--fail-on", metavar="LIST", default=DEFAULT_FAIL_ON,
        help=f"what makes the exit code 1: {conditions} (default {DEFAULT_FAIL_ON})")  # fmt: skip
    add("--concurrency", type=int, default=100, metavar="N", help="requests at once (default 100, at most 10000)")
    add("--per-host", type=int, default=20, metavar="N", help="requests at once to one host (default 20)")
    add(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="time for one URL, retries included (default 10)",
    )
    add("--retries", type=int, default=2, metavar="N", help="retries after a temporary failure (default 2)")
    add("--redirects", type=int, default=5, metavar="N", help="redirects to follow (default 5)")
    larger = "longest body; a longer one is cut (default 1048576) or, with --output, fails (default 67108864)"
    add("--max-bytes", type=int, metavar="BYTES", help=larger)
    bodies = ("auto", "text", "base64", "none")
    add("--body", choices=bodies, default="auto",
        help="how to encode bodies in JSON (default auto: text, or base64 for what is not text)")  # fmt: skip
    add("--steps", metavar="JSON", help='steps to carry out on each body, such as \'[{"step":"digest"}]\'')
    add(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="add a request header (repeatable)",
    )
    net = "also allow this network, in addition to public addresses (repeatable; SLUICE_ALLOW_NET)"
    add("--allow-net", action="append", metavar="CIDR", help=net)
    port = "also allow this port, in addition to 80, 443, 8080 and 8443 (repeatable; SLUICE_ALLOW_PORT)"
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
    if options.output == "":
        raise ValueError("--output: the folder has no name")
    return Options(
        body=options.body,
        max_bytes=options.max_bytes or (_LARGEST if options.output else 1 << 20),
        timeout=options.timeout,
        retries=options.retries,
        concurrency=options.concurrency,
        redirects=options.redirects,
        cache="no-store",
        headers=headers,
        steps=read_steps(options.steps),
    )


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"--header: {line!r} has no colon")
        given, value = name.strip(), value.strip()
        name = next((known for known in headers if known.lower() == given.lower()), given)
        # Lines of one name are one list (RFC 9110, section 5.3); cookies have a list of their own.
        between = "; " if name.lower() == "cookie" else ", "
        headers[name] = f"{headers[name]}{between}{value}" if name in headers else value
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
    """Return how many requests fit the limit of open files, which is raised as far as it may be.

    Raises ValueError where not one does.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return wanted
    if hard < _FEWEST_FILES:
        raise ValueError(f"the open file limit (ulimit -Hn) is {hard}: raise it to {_FEWEST_FILES} or more")
    # Beside connections: the standard streams, the loop, resolvers, and what the saving threads open.
    return max(1, min(wanted, hard - 50))

"""``./x audit``: asks for known advisories on every version in requirements-dev.lock.

Exit code: 0 none is known, 1 there are some, 3 the databases could not be asked about all of them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_LOCK = Path(__file__).parent.parent / "requirements-dev.lock"
_SERVICES = ("pypi", "osv")


def main() -> int:
    """Ask one database after the other, until one knows all packages."""
    missed = "nothing"
    for service in _SERVICES:
        answers = _ask(service)
        advisories = [(one, found) for one in answers for found in one.get("vulns", ())]
        for package, found in advisories:
            fixed = ", ".join(found["fix_versions"]) or "no version"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
        if advisories:
            return 1
        skipped = [one["name"] for one in answers if "vulns" not in one]
        if answers and not skipped:
            print(f"audit: {len(answers)} packages, no known advisory ({service})")
            return 0
        missed = f"{len(skipped)} of {len(answers)} packages" if answers else "any package"
        print(f"audit: {service} could not be asked about {missed}", file=sys.stderr)
    print("audit: NOT audited; run it where pypi.org or osv.dev can be reached", file=sys.stderr)
    return 3


def _ask(service: str) -> list[dict[str, Any]]:
    """Return pip-audit's answer for each package, or nothing when the database cannot be reached."""
    reported = subprocess.run(
        [sys.executable, "-m", "pip_audit", "-r", str(_LOCK), "--require-hashes", "--disable-pip", "-s", service,
         "-f", "json", "--progress-spinner", "off", "--timeout", "10"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        answers: list[dict[str, Any]] = json.loads(reported.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        print((reported.stderr.strip() or "no answer").splitlines()[-1], file=sys.stderr)
        return []
    return answers


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tests.upstream.model [--seeds FIRST:LAST] [--steps N | --replay N,N,…]``: far more steps than the tests take."""

import argparse
import sys

from tests.upstream.model.walk import shortest, walk


def main() -> int:
    """Walk, and print the shortest part of a walk that breaks a rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream.model", description=__doc__)
    parser.add_argument("--seeds", default="0:20", help="the first, and the one after the last")
    parser.add_argument("--steps", type=int, default=1000, help="of each seed")
    parser.add_argument("--replay", help="take these steps, and no others")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(":"))
    for seed in range(first, last):
        steps = [*map(int, options.replay.split(","))] if options.replay else range(options.steps)
        if broken := walk(seed, steps):
            few = shortest(seed, steps)
            print(f"seed {seed}: {broken}\n--seeds {seed}:{seed + 1} --replay {','.join(map(str, few))}")
            return 1
    print(f"{last - first} walks of {len(steps)} steps: every rule held")
    return 0


if __name__ == "__main__":
    sys.exit(main())

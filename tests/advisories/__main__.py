"""`python -m tests.advisories [--list] [--document] [name …]`: remove each protection once.

Names are those of the rows, or the beginning of one.
"""

import argparse
import sys

from tests.advisories import document, mutate
from tests.advisories.rows import cuts_of
from tests.advisories.table import ROWS


def main() -> int:
    """Return 1 if a protection can be removed without its tests failing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="rows to try, by the beginning of their names")
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--document", action="store_true", help="only write the documentation")
    parser.add_argument("--part", default="1/1", help="only every so manieth: 1/3, 2/3, 3/3")
    options = parser.parse_args()
    if options.document:
        document.write()
        return 0
    part, parts = map(int, options.part.split("/"))
    chosen = [
        (name, cut)
        for name, cut in cuts_of(ROWS)
        if not options.name or name.startswith(tuple(options.name))
    ][part - 1 :: parts]
    if options.list:
        print(*(f"{name}: {cut.place}" for name, cut in chosen), sep="\n")
        return 0
    return tried(chosen)


def tried(chosen) -> int:
    """Try them, and tell of each."""
    with mutate.copied() as root:
        code, told = mutate.run(root, [test for _, cut in chosen for test in cut.tests])
        if code != 0:
            print(f"with all protections in place the tests must pass:\n{told}")
            return 1
        print(f"green with all protections: {len(chosen)} are removed now, one by one", flush=True)
        survived = []
        for name, cut in chosen:
            outcome = mutate.without(root, name, cut)
            print(
                f"{'red ' if outcome.red else 'PASSED'} {outcome.seconds:5.1f}s {name}", flush=True
            )
            if not outcome.red:
                survived.append(outcome)
    for outcome in survived:
        print(f"\n{outcome.name} was removed, and nothing failed: {outcome.told}")
    print(f"{len(chosen) - len(survived)} of {len(chosen)} are noticed")
    return 1 if survived else 0


sys.exit(main())

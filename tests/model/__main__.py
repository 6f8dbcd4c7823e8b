"""``python -m tests.model``: every scenario, deeper than ``make test`` goes. Takes half an hour."""

import sys
import time

from tests.model.explorer import explore
from tests.model.protocol import Model
from tests.model.scenarios import DEEP, SCENARIOS


def main() -> None:
    names = sys.argv[1:] or [*SCENARIOS, *DEEP]
    for name in names:
        visits, ticks = (3, 3) if name in SCENARIOS else (2, 2)
        for exact in (True, False):
            began = time.monotonic()
            world = (SCENARIOS | DEEP)[name](visits)
            found = explore(Model(exact=exact), world, ticks=ticks)
            print(
                f"{name}, {'exact' if exact else 'late'} deletes: {found.worlds} worlds, "
                f"{found.stores} stores, {time.monotonic() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

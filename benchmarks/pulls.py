"""What the pull history costs: GET of one manifest by its tag, with it and without it.

`python -m benchmarks.pulls [--rounds N] [--seconds N]`. Two registries of one worker each, asked in
turns; which is first alternates. Beside the rate stands the server's processor time per request: on
a machine that does other things too, that is the figure to look at. Needs `wrk`.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.logins import measure, push
from conformance.server import RegistryProcess

SIDES = {"with": "true", "without": "false"}


def main() -> None:
    """Print each round, then medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pulls-") as home:
        servers = {
            name: RegistryProcess(
                store="filesystem",
                data=Path(home) / name,
                log=Path(home) / f"{name}.log",
                settings={
                    "PULLS__ENABLED": enabled,
                    "PULLS__FLUSH_SECONDS": "1",
                    "LOG__ACCESS_FILE": str(Path(home) / f"{name}.access"),
                },
            )
            for name, enabled in SIDES.items()
        }
        with servers["with"], servers["without"]:
            for server in servers.values():
                push(server, {})
                measure(server, 1, {})
            report(servers, options.rounds, options.seconds)


def report(servers: dict[str, RegistryProcess], rounds: int, seconds: float) -> None:
    """Run the rounds and print what they say."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for number in range(rounds):
        for name in list(SIDES)[:: 1 if number % 2 else -1]:
            found[name].append(measure(servers[name], seconds, {}))
        line = (f"{name} {each[-1][0]:,.0f}/s {each[-1][1]:.1f} us" for name, each in found.items())
        print(f"round {number + 1}: {'; '.join(line)}")
    pairs = list(zip(found["with"], found["without"], strict=True))
    rates = sorted(one[0] / two[0] for one, two in pairs)
    costs = sorted(two[1] / one[1] for one, two in pairs)
    for name, each in found.items():
        print(
            f"{name}: {statistics.median(rate for rate, _ in each):,.0f}/s, "
            f"{statistics.median(cost for _, cost in each):.1f} us of processor time"
        )
    print(
        f"with it, of the rate without: {statistics.median(rates):.1%} "
        f"[{rates[0]:.1%} to {rates[-1]:.1%}]; by processor time {statistics.median(costs):.1%} "
        f"[{costs[0]:.1%} to {costs[-1]:.1%}]"
    )


if __name__ == "__main__":
    main()

"""Run the fuzz targets: `python -m tests.fuzz.run [--seconds N] [--seed N] [target ...]`."""

import argparse
import importlib
import pkgutil
import random
from types import ModuleType

import tests.fuzz
from tests.fuzz import engine

NOT_TARGETS = {"engine", "run"}


def targets() -> dict[str, ModuleType]:
    """Find the targets: every module of this package that has a `check`."""
    names = [info.name for info in pkgutil.iter_modules(tests.fuzz.__path__)]
    return {
        name: importlib.import_module(f"tests.fuzz.{name}")
        for name in sorted(names)
        if name not in NOT_TARGETS and not name.startswith("test_")
    }


def main(arguments: list[str] | None = None) -> None:
    """Share the seconds among the targets; stop at the first input that breaks one."""
    found = targets()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="*", choices=[*found, []], help="default: all")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))  # noqa: S311
    options = parser.parse_args(arguments)
    chosen = options.target or list(found)
    for name in chosen:
        done = engine.run(found[name], seconds=options.seconds / len(chosen), seed=options.seed)
        print(f"{name}: {done} inputs, seed {options.seed}")


if __name__ == "__main__":
    main()

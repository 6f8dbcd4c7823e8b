"""The page's tables: what each step cost, and what was lost: nothing, or it is said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tests.drill.record import Step

_HEAD = (
    "| | step | requests | not served | longest time with errors | silence | slowest | whole after "
    "| pushes, pulls: done, failed | commands: done, failed |\n"
    "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True, slots=True)
class Report:
    """A part of the drill that was played."""

    part: str
    steps: Sequence[Step]
    wrong: Sequence[str]
    """What was lost, or had other bytes."""

    checked: int
    facts: Mapping[str, str]
    notes: Sequence[str] = ()

    def misses(self) -> list[str]:
        """What must not be, and is."""
        found = [f"lost or wrong: {text}" for text in self.wrong]
        found += [
            f"{each.name}: {each.failed} pushes, pulls or commands failed"
            for each in self.steps
            if each.harmless and each.failed
        ]
        return found

    def markdown(self) -> str:
        """The table, what was said of each step, and the verdict."""
        lines = [_HEAD]
        for number, each in enumerate(self.steps, 1):
            counts = each.counts
            transfers = counts.pushes + counts.pulls
            failed = counts.failed_pushes + counts.failed_pulls
            errors = f"{each.errors}"
            if each.errors:
                errors += (
                    f" (most in a second: {each.peak}; the last after {each.last_error:.0f} s)"
                )
            lines.append(
                f"| {number} | {each.name} | {counts.requests:,} | {errors} "
                f"| {each.longest_error:.1f} s | {each.silence:.1f} s | {each.slowest:.1f} s "
                f"| {each.whole_after:.0f} s | {transfers}, {failed} "
                f"| {counts.commands}, {counts.failed_commands} |"
            )
        lines += ["", *(f"{n}. {each.note}." for n, each in enumerate(self.steps, 1)), ""]
        misses = self.misses()
        if misses:
            lines += ["**Not held:**", "", *(f"- {text}" for text in misses)]
        else:
            lines.append(
                f"Nothing was lost: {self.checked:,} blobs, manifests and tags that clients had "
                "been told of are there, byte by byte. Where a single part fails, or is changed, "
                "no client's push, pull or command failed."
            )
        lines += ["", *(f"- {text}" for text in self.notes)]
        lines += [f"- {name}: {text}" for name, text in self.facts.items()]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """All figures."""
        data = {
            "facts": dict(self.facts),
            "notes": list(self.notes),
            "wrong": list(self.wrong),
            "checked": self.checked,
            "steps": [asdict(each) for each in self.steps],
        }
        return json.dumps(data, indent=1) + "\n"

"""A short run of every fuzz target, the same inputs each time."""

import pytest

from tests.fuzz import engine, run

TARGETS = run.targets()


def test_there_is_a_target_for_every_parser():
    assert set(TARGETS) == {
        "accept", "chunked", "conditions", "content_range", "content_type", "digest", "hash_state",
        "manifest", "names", "pagination", "range", "requests", "scopes", "token_request", "tokens",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_parser_accepts_or_refuses_any_input(name):
    assert engine.run(TARGETS[name], seconds=0.7, count=4000) > 50


def test_the_fuzzer_notices_a_parser_that_crashes():
    class Broken:
        __name__ = "broken"
        SEEDS = (b"1",)

        @staticmethod
        def check(data):
            int(data or b"0")

    with pytest.raises(ValueError, match="invalid literal") as caught:
        engine.run(Broken, seconds=5)
    assert "input: " in caught.value.__notes__[0]


def test_the_command_runs_one_target(capsys):
    run.main(["names", "--seconds", "0.05", "--seed", "7"])
    assert capsys.readouterr().out.startswith("names: ")

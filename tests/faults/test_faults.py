"""The fault suites at a small size; ``python -m tests.faults.kills`` and ``.servers`` run them as long as one likes."""

from __future__ import annotations

import random

import pytest

from tests.faults import kills, servers


@pytest.mark.slow
def test_kills_lose_double_and_hang_nothing():
    seed = random.SystemRandom().randrange(2**32)
    counts = kills.run(rounds=6, seed=seed)
    assert {name: counts[name] for name in kills.FAULTS} == dict.fromkeys(kills.FAULTS, 0), f"seed {seed}: {counts}"
    assert counts["rounds"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flaky", "dead"])
def test_a_server_that_fails_costs_no_record(kind: str, tmp_path):
    figures = servers.train(kind, tmp_path / "run", train_size=500)
    assert (figures["exit"], figures["runs"], figures["finished"]) == (0, 1, 1)
    assert (figures["lost"], figures["doubled"]) == (0, 0)

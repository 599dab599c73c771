"""A few short random histories; ``make stress`` runs more and longer ones."""

import os

from stress import random_histories


def test_responses_agree_with_model(postgres: str) -> None:
    name = f"case_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_model"
    responses = random_histories.run_histories(postgres, name, examples=3, steps=10, seed=1).counts
    assert responses["PUT 201"]
    assert responses["GET 304"]

"""Requests made of the server's own OpenAPI documents: nearly right, in every way they describe.

Each answer must be one that its document describes, and none is a failure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.live_server import Live

from case_server.api.profiles import PROFILES

DOCUMENTS = (
    "/openapi.json",
    "/ims/case/v1p1/openapi.json",
    *(profile.prefix + profile.document for profile in PROFILES if not profile.writes),
)
"""The OpenAPI documents of all profiles."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@dataclass
class Tally:
    """What was tried of which document, and what came of it."""

    tried: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        of_each = ", ".join(
            f"{self.tried[path]:,} to the {count} operations of {path}"
            for path, count in self.operations.items()
        )
        return (
            f"{self.tried.total():,} requests from OpenAPI documents ({of_each}), "
            f"answers {dict(sorted(self.answers.items()))}; {len(self.wrong)} wrong"
        )


def run(live: Live, examples: int, seed: int) -> Tally:
    """So many requests to every operation of every document of a running server."""
    tally, headers = Tally(), {"Authorization": f"Bearer {live.token()}"}
    for path in DOCUMENTS:
        schema = schemathesis.openapi.from_url(live.base_url + path)
        for result in schema.get_all_operations():
            if isinstance(result, Ok):
                tally.operations[path] += 1
                _operation(tally, path, result.ok(), headers, (examples, seed))
            else:
                tally.wrong.append(f"{path} describes an operation that is none: {result.err()}")
    return tally


def _operation(
    tally: Tally,
    document: str,
    operation: Any,
    headers: dict[str, str],
    chance: tuple[int, int],
) -> None:
    examples, seed = chance
    told: dict[str, str] = {}

    def tried(case: Any) -> None:
        answer = case.call(headers=headers)
        tally.tried[document] += 1
        tally.answers[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as group:
            for one in group.exceptions:
                told.setdefault(one.title, f"{one.message} {case.as_curl_command()}")

    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    seeded(seed)(chosen(given(case=operation.as_strategy())(tried)))()
    for title, text in told.items():
        tally.wrong.append(f"{document} {operation.label}: {title}: {text[:1500]}")

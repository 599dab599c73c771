"""Requests that are nearly right: schemathesis reads our own OpenAPI documents.

What a document describes is what is answered, and nothing is failed on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from live import Live
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from case_server.api.profiles import PROFILES

DOCUMENTS = (
    "/openapi.json",
    "/ims/case/v1p1/openapi.json",
    *(profile.prefix + profile.document for profile in PROFILES if not profile.writes),
)
"""The OpenAPI documents of all profiles."""

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@dataclass
class Tally:
    """What was tried."""

    tried: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        tried = ", ".join(f"{count:,} {what}" for what, count in self.tried.items())
        return f"{tried}; answers {dict(sorted(self.answers.items()))}; {len(self.wrong)} wrong"


def run(live: Live, examples: int, seed: int) -> Tally:
    """So many requests to every operation of every document of a running server.

    Each answer must be one that its document describes.
    """
    tally, token = Tally(), live.token()
    for path in DOCUMENTS:
        schema = schemathesis.openapi.from_url(live.base_url + path)
        for result in schema.get_all_operations():
            assert isinstance(result, Ok), f"{path} describes an operation that is none: {result}"
            _operation(tally, path, result.ok(), token, examples, seed)
    return tally


def _operation(
    tally: Tally, document: str, operation: Any, token: str, examples: int, seed: int
) -> None:
    headers = {"Authorization": f"Bearer {token}"}

    def tried(case: Any) -> None:
        answer = case.call(headers=headers)
        tally.tried[document] += 1
        tally.answers[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    chosen = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    try:
        seeded(seed)(chosen(given(case=operation.as_strategy())(tried)))()
    except Exception as error:  # noqa: BLE001  whatever it finds is told at the end
        text = "; ".join(str(one) for one in getattr(error, "exceptions", [error]))
        tally.wrong.append(f"{document} {operation.label}: {text[:1500]}")

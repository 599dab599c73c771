"""Fuzzing of all operations with requests generated from the server's OpenAPI documents.

Every response must conform to the OpenAPI document, and none may be a server error.
"""

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
from support.live_server import LiveServer

from case_server.api.profiles import PROFILES
from stress.report import ScenarioReport

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


def fuzz_operations(server: LiveServer, examples: int, seed: int) -> ScenarioReport:
    """Send ``examples`` generated requests to each operation in the server's OpenAPI documents.

    Each response must conform to the document.
    """
    report, headers = ScenarioReport(), {"Authorization": f"Bearer {server.token()}"}
    for path in DOCUMENTS:
        schema = schemathesis.openapi.from_url(server.base_url + path)
        for result in schema.get_all_operations():
            if isinstance(result, Ok):
                report.counts[f"operations of {path}"] += 1
                _fuzz_operation(report, path, result.ok(), headers, (examples, seed))
            else:
                report.record_violation(f"{path} contains an invalid operation: {result.err()}")
    return report


def _fuzz_operation(
    report: ScenarioReport,
    document: str,
    operation: Any,
    headers: dict[str, str],
    chance: tuple[int, int],
) -> None:
    examples, seed = chance
    failures: dict[str, str] = {}

    def send(case: Any) -> None:
        response = case.call(headers=headers)
        report.counts[f"requests to {document}"] += 1
        report.counts[f"responses {response.status_code}"] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                failures.setdefault(failure.title, f"{failure.message} {case.as_curl_command()}")

    profile = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    seeded(seed)(profile(given(case=operation.as_strategy())(send)))()
    for title, text in failures.items():
        report.record_violation(f"{document} {operation.label}: {title}: {text[:1500]}")

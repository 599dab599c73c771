"""Fuzzing of the ``filter`` parameter with a grammar of valid and almost valid filters."""

import random
from typing import Any
from urllib.parse import urlencode

from httpx import AsyncClient

from stress.report import ScenarioReport

PATHS = (
    "/case/1.1/CFItems",
    "/case/1.1/CFDocuments",
    "/ims/case/v1p1/CFItems",
    "/ims/case/v1p1/CFSubjects",
    "/1edtech/ims/case/v1p1/CFDocuments",
    "/1edtech/ims/case/v1p0/CFDocuments",
)
FIELDS = (
    *("identifier", "title", "fullStatement", "lastChangeDateTime", "subject", "subjectURI.title"),
    *("CFPackageURI.identifier", "educationLevel", "extensions.a.b", "extensions", "CFDocumentURI"),
    *("statusStartDate", "sourcedId", "nobody", "identifier.identifier", "1", "", "and", "é"),
)
OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "~", "@", "==", "=>", "!", "")
VALUES = (
    *("'a'", "''", "''''", "'a''b'", "'%'", "'_\\'", "'2026-01-01'"),
    *("'2026-01-01T00:00:00Z'", "'1e400'", "'a,b,,c'", "5", "-1.5e3", "true"),
    *("'", "'\\ud800'", "'\x00'", "'☃'", '"a"', "null"),
    *("'" + "x" * 3000 + "'", "'0001-01-01T00:00:00+23:59'"),
    *("'9999-12-31T23:59:59-23:59'", "'[]'", "'{}'", "9" * 400),
)
JOINS = (" AND ", " OR ", " and ", " or ", "AND", " NOT ", "  ", ",", ") AND (")


def generate_filter(rng: random.Random, depth: int = 0) -> str:
    """Generate a random value for the ``filter`` parameter from valid and invalid parts.

    ``depth`` is the nesting depth so far, which is capped.
    """
    if depth < 4 and rng.random() < 0.3:
        inner = generate_filter(rng, depth + 1)
        return rng.choice((f"({inner})", f"({inner}", f"{inner})", f"(({inner}))"))
    if depth < 6 and rng.random() < 0.45:
        return generate_filter(rng, depth + 1) + rng.choice(JOINS) + generate_filter(rng, depth + 1)
    space = rng.choice(("", " ", "\t", "\u00a0"))
    parts = (
        rng.choice(FIELDS),
        rng.choice(OPERATORS[:8] if rng.random() < 0.8 else OPERATORS),
        rng.choice(VALUES),
    )
    return space.join(parts)


async def fuzz_filters(client: AsyncClient, count: int, seed: int) -> ScenarioReport:
    """Send ``count`` random filters to the server, to find any that cause a server error.

    Each response must be 200, or 400 with a description. Some requests also have a random sort,
    limit, offset or fields parameter.
    """
    report, rng = ScenarioReport(), random.Random(seed)
    for number in range(count):
        text = generate_filter(rng) if number % 50 else "(" * 500 + generate_filter(rng)
        params: list[tuple[str, Any]] = [("filter", text)]
        if rng.random() < 0.3:
            name = rng.choice(("sort", "orderBy", "limit", "offset", "fields"))
            params.append((name, rng.choice((*FIELDS, *VALUES))))
        path = rng.choice(PATHS)
        response = await client.get(f"{path}?{urlencode(params, errors='surrogatepass')}")
        report.record_timed_response("filters", f"{path} {params}", response, (200, 400))
    return report

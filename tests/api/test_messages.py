"""Error messages of the API; each ends in what to do."""

from typing import Any

import pytest
from httpx import AsyncClient
from support import factories

# Constant, because test processes must collect tests of the same names.
DOCUMENT = "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0d"
ITEM = "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0c"
NODE_ADVICE = "the CFPackage of its framework contains those that exist"
LIST_ADVICE = "CFDocuments lists all frameworks"

CASES: list[tuple[str, str, Any, str]] = [
    ("GET", "CFItems/x", None, f"no CFItem has the identifier 'x': {NODE_ADVICE}"),
    ("GET", "CFItems/%00", None, r"no entity has the identifier '\x00': remove the NUL character"),
    ("GET", "CFSubjects/x", None, f"no CFSubject has the identifier 'x': {NODE_ADVICE}"),
    ("GET", "CFAssociations/x", None, f"no CFAssociation has the identifier 'x': {NODE_ADVICE}"),
    ("GET", "CFDocuments/x", None, f"no CFDocument has the identifier 'x': {LIST_ADVICE}"),
    (
        "GET",
        "CFPackages/x",
        None,
        f"no CFPackage or CFDocument has the identifier 'x': {LIST_ADVICE}",
    ),
    (
        "PUT",
        "CFItems/x",
        factories.item(DOCUMENT, ITEM),
        f"identifier {ITEM!r} in the body does not match 'x' in the path: send the same in both",
    ),
    (
        "PUT",
        f"CFItems/{ITEM}",
        factories.item(DOCUMENT, ITEM),
        f"no document has the identifier {DOCUMENT!r}: create it first",
    ),
    ("PUT", "CFItems/x", [], "the body must be a JSON object, a CFItem"),
    (
        "PUT",
        "CFPackages/x",
        factories.package("x"),
        "no CFDocument has the identifier 'x': POST its package first",
    ),
    ("GET", "CFItems?limit=x", None, "limit: found 'x', expected an integer from 1 to 100"),
    ("GET", "nothing", None, "path /case/1.1/nothing not found: see /docs for the API"),
]


@pytest.mark.parametrize(("method", "path", "body", "message"), CASES)
async def test_error_message_names_problem_and_remedy(
    client: AsyncClient, method: str, path: str, body: Any, message: str
) -> None:
    content = {} if body is None else {"json": body}
    response = await client.request(method, f"/case/1.1/{path}", **content)
    assert response.json()["imsx_description"] == message

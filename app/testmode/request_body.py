"""What the control API is sent, read into classes, or refused with every problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from ..api.request_body import read_body
from ..exceptions import BadRequest, Problem, UnprocessableContent
from .middleware import NAMESPACE
from .namespace import Namespace

Read = TypeVar("Read")


def namespace_of(request: Request) -> Namespace:
    """The namespace that a request is about."""
    found: Namespace = request.scope[NAMESPACE]
    return found


async def read_json(request: Request, schema: TypeAdapter[Read], *, absent: str = "") -> Read:
    """The body as what ``schema`` describes; ``absent`` is the JSON that stands for no body.

    Raises ``BadRequest`` when it is not JSON, else ``InvalidData`` with every problem.
    """
    raw = await read_body(request) or absent.encode()
    try:
        return schema.validate_json(raw)
    except ValidationError as error:
        problems = problems_of(error)
        if error.errors()[0]["type"] == "json_invalid":
            raise BadRequest(f"the body is not JSON: {problems[0]['message']}") from error
        raise UnprocessableContent(told(problems), problems=problems) from error


def read_query(request: Request, schema: TypeAdapter[Read]) -> Read:
    """The query as what ``schema`` describes; ``BadRequest`` with every problem."""
    try:
        return schema.validate_python(dict(request.query_params))
    except ValidationError as error:
        problems = problems_of(error)
        raise BadRequest(told(problems), problems=problems) from error


def problems_of(error: ValidationError) -> list[Problem]:
    """Every problem with where it stands."""
    return [
        Problem(path=_path(detail["loc"]), message=str(detail["msg"]).removeprefix("Value error, "))
        for detail in error.errors()
    ]


def told(problems: list[Problem]) -> str:
    """Problems in a sentence."""
    return "; ".join(
        f"{problem['path']}: {problem['message']}" if problem["path"] else problem["message"]
        for problem in problems
    )


def _path(steps: tuple[int | str, ...]) -> str:
    written = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return written.removeprefix(".")


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a query says ``name=true``; ``BadRequest`` where it says neither that nor false."""
    said = query.get(name, "false").lower()
    if said not in {"true", "false"}:
        raise BadRequest(f"{name} is true or false, not {said!r}")
    return said == "true"

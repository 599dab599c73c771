"""Bytes that a client sent, read into a class of the model, or refused with every problem.

A body may be bare or wrapped (``{"item": {…}}``), and may use the spellings of TimeBack's SDK:
``sourcedId`` for ``identifier``, ``cfItemType`` for ``CFItemType``, and ``licenseUri``, a text, for
the link ``licenseURI``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import NAMESPACE_URL, uuid5

from pydantic import ValidationError, create_model
from pydantic_core import from_json, to_json

from ..errors import BadRequest, InvalidData, Problem
from .bounds import MOST_PROBLEMS, UnknownField, every_problem, quick, refuse_crowded
from .model import CaseObject
from .types import PATTERN_MESSAGES, URI_PATTERN

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Read = TypeVar("Read", bound=CaseObject)

FIRST_NAME = re.compile(rb'^\s*\{\s*"(\w+)"\s*:\s*\{')
"""The first name of an object, where an object stands under it."""

UNKNOWN_FIELD = "not a field of the standard; what is your own goes under extensions"
NULL = "null is not allowed; leave the field out"


@dataclass(frozen=True)
class Body(Generic[Read]):
    """What was read, and what the paths of problems in it begin with: ``item.`` or nothing."""

    entity: Read
    under: str


def read(schema: type[Read], raw: bytes, wrappers: Sequence[str] = ()) -> Body[Read]:
    """Read a body, which may be wrapped in one of the names in ``wrappers``.

    Raises ``BadRequest`` when it is not a JSON object, else ``InvalidData`` with every problem.
    """
    first = FIRST_NAME.match(raw)
    wrapper = first[1].decode() if first else ""
    if wrapper not in wrappers:
        return Body(_validate(schema, raw), under="")
    entity = getattr(_validate(_wrapped(schema, wrapper), raw), wrapper)
    assert isinstance(entity, schema)
    return Body(entity, under=f"{wrapper}.")


@cache
def _wrapped(schema: type[CaseObject], wrapper: str) -> type[CaseObject]:
    fields: dict[str, Any] = {wrapper: (schema, ...)}
    return create_model(f"Wrapped{schema.__name__}", __base__=CaseObject, **fields)


def _validate(schema: type[Read], raw: bytes) -> Read:
    refuse_crowded(raw)
    first: list[ErrorDetails] = []
    try:
        return quick(schema, raw)
    except UnknownField:
        pass
    except ValidationError as error:
        first = error.errors(include_url=False)
        if first[0]["loc"] == ():
            raise _refusal(schema, first) from None
    # Most bodies use the standard's spelling, so others are looked for only when one is not valid.
    tree = from_json(raw)
    if differing := list(_respell(tree, "")):
        raise refusal(_name(schema), differing)
    try:
        return quick(schema, to_json(tree, inf_nan_mode="constants"))
    except UnknownField:
        pass
    except ValidationError as error:
        first = error.errors(include_url=False)
    raise _refusal(schema, every_problem(schema, tree) or first)


def _license_link(value: Any) -> Any:
    """A licence named by a text, as the link it stands for; the same text is the same licence."""
    if not isinstance(value, str) or not value:
        return value
    identifier = str(uuid5(NAMESPACE_URL, value))
    uri = value if re.match(URI_PATTERN, value) else f"urn:uuid:{identifier}"
    return {"title": value, "identifier": identifier, "uri": uri}


SPELLINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sourcedId": ("identifier", lambda value: value),
    "cfItemType": ("CFItemType", lambda value: value),
    "licenseUri": ("licenseURI", _license_link),
}
"""Other names that fields go by, and what their values mean."""


def _respell(value: Any, path: str) -> Iterator[Problem]:
    """Say everything in the standard's names, and yield what contradicts itself."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _respell(part, f"{path}[{index}]")
    if not isinstance(value, dict):
        return
    for other, (name, meaning) in SPELLINGS.items():
        if other in value:
            meant = meaning(value.pop(other))
            # The SDK's empty text says that there is none.
            if meant != "" and value.setdefault(name, meant) != meant:
                message = f"differs from {name}, which is {value[name]!r}"
                yield Problem(path=f"{path}.{other}".lstrip("."), message=message)
    for name, part in value.items():
        if name != "extensions":
            yield from _respell(part, f"{path}.{name}")


def _refusal(schema: type[CaseObject], details: list[ErrorDetails]) -> BadRequest | InvalidData:
    first = details[0]
    if first["type"] == "json_invalid":
        return BadRequest(f"the body is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    if first["loc"] == () and first["type"] == "model_type":
        return BadRequest(f"the body must be a JSON object, a {_name(schema)}")
    problems = [Problem(path=_path(detail["loc"]), message=_message(detail)) for detail in details]
    return refusal(_name(schema), problems)


def refusal(name: str, problems: list[Problem]) -> InvalidData:
    """What a client is told: the first problem in words, all of them in ``problems``."""
    first, more = problems[0], len(problems) - 1
    others = f", and {more} more problem{'s' if more > 1 else ''}" if more else ""
    if len(problems) >= MOST_PROBLEMS:
        others = f", and {MOST_PROBLEMS - 1} more problems or more"
    return InvalidData(
        f"the {name} is not valid: {first['path']}: {first['message']}{others}",
        problems=problems[:MOST_PROBLEMS],
    )


def _name(schema: type[CaseObject]) -> str:
    name = schema.__name__.removeprefix("Wrapped").removeprefix("Named")
    return name.replace("CFPckg", "CF")


def _path(location: tuple[int | str, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".")


def _message(detail: ErrorDetails) -> str:
    """What is wrong, in words that say what would be right."""
    if detail["type"] == "missing":
        return "required"
    if detail["type"] == "extra_forbidden":
        return UNKNOWN_FIELD
    if detail["input"] is None:
        return NULL
    pattern = detail.get("ctx", {}).get("pattern")
    return PATTERN_MESSAGES.get(str(pattern)) or detail["msg"].replace("Input should", "must")

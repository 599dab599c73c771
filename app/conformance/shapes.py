"""Whether an entity has the shape that its profile's documents give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from ..case.model import (
    CaseObject,
    CFAssociation,
    CFAssociationGrouping,
    CFConcept,
    CFItem,
    CFItemType,
    CFLicense,
    CFPackage,
    CFPckgDocument,
    CFPckgItem,
    CFRubric,
    CFSubject,
    LinkURI,
)
from ..case.parsing import parse
from ..case.problems import NULL, UNKNOWN_FIELD
from ..exceptions import CaseServerError
from .client import Body, CheckFailed
from .profiles import ProfileSpec


class Document(CFPckgDocument):
    """A document as it is answered: only when it is written must it say its caseVersion."""

    CFPackageURI: LinkURI


class SdkItem(CFPckgItem):
    """An item as the SDK reads it: always with a type."""

    CFItemType: str


MODELS: dict[str, type[CaseObject]] = {
    "CFDocument": Document,
    "CFItem": CFItem,
    "CFAssociation": CFAssociation,
    "CFPackage": CFPackage,
    "CFSubject": CFSubject,
    "CFConcept": CFConcept,
    "CFItemType": CFItemType,
    "CFLicense": CFLicense,
    "CFAssociationGrouping": CFAssociationGrouping,
    "CFRubric": CFRubric,
}

OPTIONAL_URI_PATH = re.compile(r"(?<!CFPackageURI)(?<!NodeURI)\.uri$")
"""The links whose uri the SDK can do without end so."""

MAX_LISTED_PROBLEMS = 3
"""How many problems of one entity are told."""


def expect_valid(profile: ProfileSpec, name: str, node: Any) -> None:
    """Raises ``Differs`` with the first problems of an entity, where it has any."""
    problems = list(problems_of(profile, name, node))
    if problems:
        more = (
            f" and {len(problems) - MAX_LISTED_PROBLEMS} more"
            if len(problems) > MAX_LISTED_PROBLEMS
            else ""
        )
        raise CheckFailed(f"{name}: {'; '.join(problems[:MAX_LISTED_PROBLEMS])}{more}")


def problems_of(profile: ProfileSpec, name: str, node: Any) -> Iterator[str]:
    """What of an entity is not as its profile's documents have it."""
    if not isinstance(node, dict):
        yield "is not an object"
        return
    if profile.closed:
        yield from (f"{path} is not a field of the standard" for path in _foreign(node))
        yield from (f"{path} {NULL}" for path in _nulls(node))
    model = SdkItem if (profile.name, name) == ("sdk", "CFItem") else MODELS[name]
    sent = node if profile.closed else plain(node)
    try:
        parse(model, to_json(sent))
    except CaseServerError as error:
        for one in error.problems or [{"path": "", "message": error.description}]:
            if not _allowed(profile, one["path"], one["message"]):
                yield f"{one['path']} {one['message']}".strip()


def _allowed(profile: ProfileSpec, path: str, message: str) -> bool:
    if profile.closed:
        return False
    lacks_uri = profile.name == "sdk" and "URI" in path and OPTIONAL_URI_PATH.search(path)
    return message == UNKNOWN_FIELD or (message == "required" and bool(lacks_uri))


def plain(node: Any) -> Any:
    """An entity without its nulls, and under one name its identifier: both are common."""
    if isinstance(node, list):
        return [plain(part) for part in node]
    if not isinstance(node, dict):
        return node
    kept = {
        name: value if name == "extensions" else plain(value)
        for name, value in node.items()
        if value is not None
    }
    if "identifier" in kept:
        kept.pop("sourcedId", None)
    return kept


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Body]]:
    """Every object within a response with its path; what is in ``extensions`` is left out."""
    if isinstance(node, list):
        for index, part in enumerate(node):
            yield from walk(part, f"{path}[{index}]")
    if isinstance(node, dict):
        yield path, node
        for name, part in node.items():
            if name != "extensions":
                yield from walk(part, f"{path}.{name}".lstrip("."))


def _nulls(node: Body) -> Iterator[str]:
    """Yield the paths of fields that are null: requests may contain them, answers may not."""
    for path, part in walk(node):
        yield from (f"{path}.{name}".lstrip(".") for name, value in part.items() if value is None)


def _foreign(node: Body) -> Iterator[str]:
    """Where the vendor's name of an identifier stands, which the reader would take."""
    for path, part in walk(node):
        for name in ("sourcedId", "cfItemType", "licenseUri"):
            if name in part:
                yield f"{path}.{name}".lstrip(".")

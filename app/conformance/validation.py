"""Validation of entities in responses against the schema of a profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from ..case.model import (
    CaseModel,
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
from ..case.parsing import parse_json_body
from ..case.problems import NULL, UNKNOWN_FIELD
from ..exceptions import CaseServerError
from .client import Body, CheckFailed
from .profiles import ProfileSpec


class ResponseDocument(CFPckgDocument):
    """A document as it appears in responses: ``caseVersion`` is optional, unlike in requests."""

    CFPackageURI: LinkURI


class ItemWithType(CFPckgItem):
    """An item that must have a ``CFItemType``, as in TimeBack's client library (SDK)."""

    CFItemType: str


MODELS: dict[str, type[CaseModel]] = {
    "CFDocument": ResponseDocument,
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
"""Paths of the links whose uri the SDK does not need."""

MAX_LISTED_PROBLEMS = 3


def expect_valid(profile: ProfileSpec, class_name: str, entity: Any) -> None:
    """Raise ``CheckFailed`` with the first three problems if an entity violates the schema.

    ``class_name`` is the entity's class, such as ``CFItem``; the profile determines the schema.
    """
    problems = list(find_problems(profile, class_name, entity))
    listed = problems[:MAX_LISTED_PROBLEMS]
    if problems:
        rest = len(problems) - len(listed)
        raise CheckFailed(f"{class_name}: {'; '.join(listed)}{f' and {rest} more' if rest else ''}")


def find_problems(profile: ProfileSpec, class_name: str, entity: Any) -> Iterator[str]:
    """Yield each violation of the schema in an entity, as a JSON path, a space and a message.

    ``class_name`` is the entity's class, such as ``CFItem``; the profile determines the schema.
    """
    if not isinstance(entity, dict):
        yield "is not an object"
        return
    if profile.closed:
        yield from (
            f"{path} is not a field of the standard" for path in _find_vendor_fields(entity)
        )
        yield from (f"{path} {NULL}" for path in _find_nulls(entity))
    model = ItemWithType if (profile.name, class_name) == ("sdk", "CFItem") else MODELS[class_name]
    try:
        parse_json_body(
            model, to_json(entity if profile.closed else drop_nulls_and_sourced_ids(entity))
        )
    except CaseServerError as error:
        for problem in error.problems or [{"path": "", "message": error.description}]:
            if not _is_allowed(profile, problem["path"], problem["message"]):
                yield f"{problem['path']} {problem['message']}".strip()


def _is_allowed(profile: ProfileSpec, path: str, message: str) -> bool:
    if profile.closed:
        return False
    lacks_uri = profile.name == "sdk" and "URI" in path and OPTIONAL_URI_PATH.search(path)
    return message == UNKNOWN_FIELD or (message == "required" and bool(lacks_uri))


def drop_nulls_and_sourced_ids(node: Any) -> Any:
    """Return a copy of a JSON value without nulls, and without sourcedId if identifier is set.

    Vendor profiles allow both, but the standard's schema rejects them.
    """
    if isinstance(node, list):
        return [drop_nulls_and_sourced_ids(member) for member in node]
    if not isinstance(node, dict):
        return node
    fields = {
        name: value if name == "extensions" else drop_nulls_and_sourced_ids(value)
        for name, value in node.items()
        if value is not None
    }
    if "identifier" in fields:
        fields.pop("sourcedId", None)
    return fields


def walk_objects(node: Any, path: str = "") -> Iterator[tuple[str, Body]]:
    """Yield (path, object) for every JSON object within a value, at any depth.

    Objects within ``extensions`` are left out, because they may have any fields.
    """
    if isinstance(node, list):
        for index, member in enumerate(node):
            yield from walk_objects(member, f"{path}[{index}]")
    if isinstance(node, dict):
        yield path, node
        for name, value in node.items():
            if name != "extensions":
                yield from walk_objects(value, f"{path}.{name}".lstrip("."))


def _find_nulls(entity: Body) -> Iterator[str]:
    for path, part in walk_objects(entity):
        yield from (f"{path}.{name}".lstrip(".") for name, value in part.items() if value is None)


def _find_vendor_fields(entity: Body) -> Iterator[str]:
    """Yield the paths of vendor-specific fields, such as ``sourcedId`` or ``licenseUri``."""
    for path, part in walk_objects(entity):
        for name in ("sourcedId", "cfItemType", "licenseUri"):
            if name in part:
                yield f"{path}.{name}".lstrip(".")

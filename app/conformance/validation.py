"""Validation of entities in responses against the schema of a profile."""

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
from ..case.parsing import parse_json_body
from ..case.problems import NULL, UNKNOWN_FIELD
from ..exceptions import CaseServerError
from .client import Body, CheckFailed
from .profiles import ProfileSpec


class ResponseDocument(CFPckgDocument):
    """A document as responses contain it: ``caseVersion`` is optional, unlike in requests."""

    CFPackageURI: LinkURI


class SdkItem(CFPckgItem):
    """An item as the vendor's SDK reads it: ``CFItemType`` is required."""

    CFItemType: str


MODELS: dict[str, type[CaseObject]] = {
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


def expect_valid(profile: ProfileSpec, name: str, node: Any) -> None:
    """Raise ``CheckFailed`` with the first three problems if an entity violates the schema.

    ``name`` is the entity's class, such as ``CFItem``; the profile determines the schema.
    """
    problems = list(find_problems(profile, name, node))
    listed = problems[:MAX_LISTED_PROBLEMS]
    if problems:
        rest = len(problems) - len(listed)
        raise CheckFailed(f"{name}: {'; '.join(listed)}{f' and {rest} more' if rest else ''}")


def find_problems(profile: ProfileSpec, name: str, node: Any) -> Iterator[str]:
    """Yield each problem that an entity has according to the schema, as "path message".

    ``name`` is the entity's class, such as ``CFItem``; the profile determines the schema.
    """
    if not isinstance(node, dict):
        yield "is not an object"
        return
    if profile.closed:
        yield from (
            f"{path} is not a field of the standard" for path in _find_vendor_field_names(node)
        )
        yield from (f"{path} {NULL}" for path in _find_nulls(node))
    model = SdkItem if (profile.name, name) == ("sdk", "CFItem") else MODELS[name]
    try:
        parse_json_body(
            model, to_json(node if profile.closed else drop_nulls_and_sourced_ids(node))
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
    """Remove from JSON what vendor profiles may contain but the standard's schema rejects.

    That is null fields, and a sourcedId next to an identifier. Returns a copy.
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


def _find_nulls(node: Body) -> Iterator[str]:
    """Yield the paths of fields that are null, which is allowed in requests but not responses."""
    for path, part in walk_objects(node):
        yield from (f"{path}.{name}".lstrip(".") for name, value in part.items() if value is None)


def _find_vendor_field_names(node: Body) -> Iterator[str]:
    """Yield the paths of fields with a vendor's name, which the parser accepts as an alias."""
    for path, part in walk_objects(node):
        for name in ("sourcedId", "cfItemType", "licenseUri"):
            if name in part:
                yield f"{path}.{name}".lstrip(".")

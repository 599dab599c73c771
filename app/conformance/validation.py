"""Validation of entities in responses against the schema of a profile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_json

from ..case.model import CaseModel, CFPackage, CFPckgDocument, CFPckgItem, LinkURI
from ..case.resources import RESOURCES
from ..case.validation.parsing import parse_json_body
from ..case.validation.problems import NULL, UNKNOWN_FIELD
from ..exceptions import CaseServerError
from ..formatting import join_first
from .profiles import ProfileSpec
from .responses import Body, CheckFailed


class ResponseDocument(CFPckgDocument):
    """A document as it appears in responses: ``caseVersion`` is optional, unlike in requests."""

    CFPackageURI: LinkURI


class ItemWithType(CFPckgItem):
    """The schema of an item in the sdk profile, whose client library requires ``CFItemType``."""

    CFItemType: str


MODELS: dict[str, type[CaseModel]] = {
    **{resource.name: resource.schema for resource in RESOURCES},
    "CFDocument": ResponseDocument,
    "CFPackage": CFPackage,
}

VENDOR_FIELDS = {"sourcedId", "cfItemType", "licenseUri"}
"""Fields of vendor profiles that are not in the standard."""

OPTIONAL_URI_PATH = re.compile(r"(?<!CFPackageURI)(?<!NodeURI)\.uri$")
"""Paths of the links whose uri the SDK does not need."""

MAX_LISTED_PROBLEMS = 3


def expect_valid(profile: ProfileSpec, class_name: str, entity: Any) -> None:
    """Raise ``CheckFailed`` if an entity violates its schema; list the first three problems.

    The schema is that of the CASE class ``class_name``, such as ``CFItem``, in ``profile``.
    """
    problems = list(_find_violations(profile, class_name, entity))
    if problems:
        raise CheckFailed(f"{class_name}: {join_first(problems, MAX_LISTED_PROBLEMS, '; ')}")


def _find_violations(profile: ProfileSpec, class_name: str, entity: Any) -> Iterator[str]:
    """Yield "<JSON path> <problem>" for each violation of the profile's schema in an entity.

    ``class_name`` is the CASE class of the entity, such as ``CFItem``, and selects the schema.
    """
    if not isinstance(entity, dict):
        yield "is not an object"
        return
    if profile.is_standard:
        for parent, node in walk_objects(entity):
            for name, value in node.items():
                path = f"{parent}.{name}".lstrip(".")
                if name in VENDOR_FIELDS:
                    yield f"{path} is not a field of the standard"
                if value is None:
                    yield f"{path} {NULL}"
    model = ItemWithType if (profile.name, class_name) == ("sdk", "CFItem") else MODELS[class_name]
    body = entity if profile.is_standard else _drop_nulls_and_sourced_ids(entity)
    try:
        parse_json_body(model, to_json(body))
    except CaseServerError as error:
        for problem in error.problems or [{"path": "", "message": error.description}]:
            if not _is_allowed(profile, problem["path"], problem["message"]):
                yield f"{problem['path']} {problem['message']}".strip()


def _is_allowed(profile: ProfileSpec, path: str, message: str) -> bool:
    if profile.is_standard:
        return False
    lacks_uri = profile.name == "sdk" and "URI" in path and OPTIONAL_URI_PATH.search(path)
    return message == UNKNOWN_FIELD or (message == "required" and bool(lacks_uri))


def _drop_nulls_and_sourced_ids(node: Any) -> Any:
    """Return a copy of a JSON value without nulls, and without sourcedId if identifier is set.

    The profiles platform and sdk allow both, but the standard's schema rejects them. ``extensions``
    are copied unchanged.
    """
    if isinstance(node, list):
        return [_drop_nulls_and_sourced_ids(member) for member in node]
    if not isinstance(node, dict):
        return node
    fields = {
        name: value if name == "extensions" else _drop_nulls_and_sourced_ids(value)
        for name, value in node.items()
        if value is not None
    }
    if "identifier" in fields:
        fields.pop("sourcedId", None)
    return fields


def walk_objects(node: Any, path: str = "") -> Iterator[tuple[str, Body]]:
    """Yield (path, object) for every JSON object in a value: ``("CFItems[0]", {...})``.

    ``path`` is that of the value itself. Objects in ``extensions`` are left out, because they may
    have any fields.
    """
    if isinstance(node, list):
        for index, member in enumerate(node):
            yield from walk_objects(member, f"{path}[{index}]")
    if isinstance(node, dict):
        yield path, node
        for name, value in node.items():
            if name != "extensions":
                yield from walk_objects(value, f"{path}.{name}".lstrip("."))

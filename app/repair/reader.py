"""The tolerant reader: a package mended where that takes no guessing, with a report of it.

What cannot be mended stays as it is, for the strict reader to refuse with its path.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from ..case.limits import TREE_DENSITY, check_density
from ..case.model import CFPackage, CFPckgDocument
from ..case.numbers import find_inexact_numbers
from ..case.package import NamedCFPackage, Package, document_link
from ..case.package_stream import parse_large_package
from ..case.problems import format_path, to_exception
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..case.types import ASSOCIATION_TYPE_PATTERN, IDENTIFIER_PATTERN, PATTERN_MESSAGES
from ..exceptions import BadRequest, ContentTooLarge, Problem, UnprocessableContent
from .completion import complete_entities, complete_links
from .duplicates import deduplicate
from .encoding import detect_encoding, require_utf8, to_utf8
from .fixes import MISSING_SLASH, RawNumber
from .normalizer import Normalizer
from .references import (
    References,
    has_odd_references,
    keep_association_types,
    replace_url_identifiers,
)
from .repair_log import (
    Json,
    Repair,
    RepairLog,
    format_example,
    truncate_value,
    value_at,
)

__all__ = ["Repair", "RepairOptions", "read_repaired", "repair"]

WRAPPERS = ("CFPackage", "package")
IDENTIFIERS = ("identifier", "sourcedId")

MESSAGES_WITH_VALUE = {
    PATTERN_MESSAGES[IDENTIFIER_PATTERN],
    PATTERN_MESSAGES[ASSOCIATION_TYPE_PATTERN],
}

SUSPECT = re.compile(MISSING_SLASH.pattern.encode() + rb"|:\s*null\b")
"""Text that the strict reader accepts, but that may need a repair or a mention in the report."""


@dataclass(frozen=True)
class RepairOptions:
    """Repairs that change what an identifier or a type is, which somebody has to ask for."""

    replace_url_identifiers: bool = False
    """Whether identifiers that are URLs become UUIDs (version 5) made from them."""
    keep_association_types: bool = False
    """Whether association types of other vocabularies are kept as ``ext:name``."""


NO_OPTIONS = RepairOptions()

EXPORTED_KINDS = (DOCUMENTS.name, ITEMS.name, ASSOCIATIONS.name)
"""The kinds of entities by which an export is recognised."""


def repair(raw: bytes) -> tuple[bytes, list[Repair]]:
    """A CFPackage with everything mended that can be mended without guessing meaning.

    A valid one comes back as it is. Raises ``BadRequest`` when it is not a JSON object.
    """
    if _read_as_it_is(raw):
        return raw, []
    mended = RepairedPackage(raw)
    mended.deduplicate()
    repairs = mended.log.repairs()
    return (mended.json, repairs) if repairs else (raw, [])


def read_repaired(
    raw: bytes,
    *,
    allow_dense: bool = False,
    options: RepairOptions = NO_OPTIONS,
    schema: type[NamedCFPackage] = NamedCFPackage,
) -> tuple[Package, list[Repair]]:
    """As ``read_large_package``, after repair; ``schema`` is what must be valid then.

    Raises ``TooLarge`` for a package that is denser than one may be, unless ``allow_dense``,
    ``BadRequest`` or ``InvalidData`` with every problem that is left, with paths into
    what was sent.
    """
    if package := _read_as_it_is(raw, schema, allow_dense=allow_dense):
        return package, []
    mended = RepairedPackage(raw, allow_dense=allow_dense, options=options)
    mended.deduplicate()
    try:
        package = parse_large_package(mended.json, allow_dense=allow_dense, schema=schema)
    except UnprocessableContent as error:
        problems = [*mended.changed_numbers, *(mended.as_sent(one) for one in error.problems)]
        raise to_exception(
            "CFPackage", problems, error.omitted, exhaustive=error.exhaustive
        ) from None
    if mended.changed_numbers:
        raise to_exception("CFPackage", mended.changed_numbers)
    return package, mended.log.repairs()


def _read_as_it_is(
    raw: bytes, schema: type[NamedCFPackage] = NamedCFPackage, *, allow_dense: bool = False
) -> Package | None:
    """A package that needs no repair."""
    if detect_encoding(raw) != "utf-8":
        return None
    body = raw.removeprefix(BOM_UTF8)
    try:
        package = parse_large_package(body, max_problems=1, allow_dense=allow_dense, schema=schema)
    except (UnprocessableContent, ContentTooLarge):
        return None
    except BadRequest:
        require_utf8(raw)
        raise
    if body != raw:
        return None
    is_suspect = SUSPECT.search(raw) or has_odd_references(package.rows)
    return None if is_suspect and not is_export(raw, package) else package


def is_export(raw: bytes, package: Package) -> bool:
    """Return whether JSON has, byte for byte, the form in which ``case-server export`` writes it.

    What is stored is then read as it is, however odd, so that an export is the same framework when
    it is imported again.
    """
    if not (raw.startswith(b'{"CFDocument":{') and raw.endswith(b"}\n")):
        return False
    position = 0
    home = ""
    for row in package.rows:
        if row.kind not in EXPORTED_KINDS:
            continue
        if row.kind == DOCUMENTS.name:
            body = row.body
            home = f',"CFDocumentURI":{_link_to(row.body)}}}'
        else:
            # A package leaves out the link to the document that contains an entity.
            body = f"{row.body.removesuffix(home)}}}" if row.body.endswith(home) else row.body
        position = raw.find(body.encode(), position)
        if position < 0:
            return False
    return b'"CFDefinitions":{"CFConcepts":[' in raw and b',"CFRubrics":[' in raw


def _link_to(document: str) -> str:
    return document_link(CFPckgDocument.model_validate_json(document)).model_dump_json(
        exclude_none=True
    )


class RepairedPackage:
    """A package after its repairs: as a tree, as text, and what was found.

    ``entities`` are the objects of the tree that are entities, each with its class;
    ``changed_numbers`` are the numbers that the tree does not hold exactly.
    """

    def __init__(
        self,
        raw: bytes,
        log: RepairLog | None = None,
        *,
        allow_dense: bool = False,
        options: RepairOptions = NO_OPTIONS,
    ) -> None:
        self.log = log or RepairLog()
        if not allow_dense:
            check_density(raw, TREE_DENSITY)
        body = self._without_mark(raw)
        self.tree = self._unwrapped(_parse(body))
        self.changed_numbers = [
            Problem(path=format_path(place), message=message)
            for place, message in find_inexact_numbers(body)
        ]
        self._drop_identifiers()
        document = self.tree.get("CFDocument")
        title = document.get("title") if isinstance(document, dict) else None
        walk = Normalizer(self.log, title if isinstance(title, str) else None)
        walk.visit(CFPackage, self.tree, self.root)
        aliases: dict[str, str] = {}
        if options.replace_url_identifiers:
            aliases = replace_url_identifiers(walk.entities, self.log)
        if options.keep_association_types:
            keep_association_types(walk.entities, self.log)
        uris = complete_entities(walk.entities, self.log)
        references = References(walk.entities, aliases)
        complete_links(walk, uris, references, replace_urls=options.replace_url_identifiers)
        self.entities = walk.entities

    def deduplicate(self) -> None:
        """Leave one of each of what stands twice."""
        deduplicate(self.tree, self.log)

    @property
    def json(self) -> bytes:
        """The package as JSON."""
        return to_json(self.tree, inf_nan_mode="constants")

    def as_sent(self, problem: Problem) -> Problem:
        """Return a problem of the repaired package with its path in the source, and its value."""
        path, message = problem["path"], problem["message"]
        value = value_at(self.tree, path) if message in MESSAGES_WITH_VALUE else None
        if isinstance(value, str):
            message = f"{message}; got {format_example(truncate_value(value))}"
        return Problem(path=self.log.original_path(self.tree, path), message=message)

    def _drop_identifiers(self) -> None:
        """Drop the identifier that TimeBack's APIs add to a package, if the document implies it."""
        document = self.tree.get("CFDocument")
        if not isinstance(document, dict):
            return
        link = document.get("CFPackageURI")
        implied = [
            each.get(name)
            for each in (document, link)
            if isinstance(each, dict)
            for name in IDENTIFIERS
        ]
        for name in IDENTIFIERS:
            if isinstance(self.tree.get(name), str) and self.tree[name] in implied:
                del self.tree[name]

    def _without_mark(self, raw: bytes) -> bytes:
        """Return JSON as UTF-8 without a byte order mark."""
        encoding = detect_encoding(raw)
        if encoding != "utf-8":
            self.log.record("encoding", "", encoding.upper(), "UTF-8")
            return to_utf8(raw, encoding)
        if raw.startswith(BOM_UTF8):
            self.log.record("byte-order-mark", "")
        return raw.removeprefix(BOM_UTF8)

    def _unwrapped(self, tree: Json) -> Json:
        self.root = ""
        names = [name for name in WRAPPERS if tree.keys() == {name}]
        if names and isinstance(tree[names[0]], dict):
            self.root = names[0]
            self.log.record("wrapper", self.root, self.root)
            tree = tree[self.root]
        return tree


def _parse(raw: bytes) -> Json:
    """The JSON object in a body, with numbers that know how they were written."""
    try:
        tree: Any = json.loads(raw, parse_float=RawNumber)
    except (ValueError, RecursionError) as error:
        require_utf8(raw)
        raise BadRequest(f"the body is not JSON: {error}") from None
    if not isinstance(tree, dict):
        raise BadRequest("the body must be a JSON object, a CFPackage")
    return tree

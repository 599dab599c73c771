"""The doors to the one store: what differs between them is data, and stands here.

A profile is a base path and a shape; ``shapes.py`` and ``rendering.py`` apply it to stored bodies,
``errors.py`` to what goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..case.resources import ITEMS, Resource
from ..db.read.derived_fields import Derivation
from ..exceptions import ErrorCode
from ..query.filter import EXTENDED, PAIR, STANDARD, Grammar
from ..query.params import Dialect, Limits
from .rendering.transforms import NEW_IN_1_1

MINOR_CODES: Mapping[ErrorCode, str] = {
    "invalid": "invaliddata",
    "unauthorised": "unauthorisedrequest",
    "forbidden": "forbidden",
    "unknown": "unknownobject",
    "invalid_id": "unknownobject",
    "conflict": "invaliddata",
    "too_large": "invaliddata",
    "bad_selection": "invalid_selection_field",
    "bad_sort": "invalid_sort_field",
    "bad_filter": "invalid_filter_field",
    "unsupported": "unsupported",
    "busy": "server_busy",
    "internal": "internal_server_error",
}
"""The minor codes of the platform; other profiles say how theirs differ."""


@dataclass(frozen=True, eq=False)
class Profile:
    """One way of answering. The defaults are the standard's."""

    name: str
    prefix: str
    title: str
    document: str = "/openapi.json"
    """Where its OpenAPI document is."""
    version: str = "1.1"
    """The version of CASE whose fields it answers."""
    writes: bool = False
    """Whether it offers the vendors' operations too: PUT, POST, DELETE and groups."""
    lists: tuple[str, ...] = ("CFDocuments",)
    """What can be listed."""
    sourced_ids: bool = False
    """Every entity and link carries ``sourcedId`` beside ``identifier``."""
    wraps: bool = False
    """A single object stands under its class name: ``{"CFItem": {…}}``."""
    package_links: bool = False
    """Inside a package, items and associations name their document, the document its package."""
    foreign_links: bool = False
    """…and, if not that, at least where the link says what cannot be told from the document."""
    package_is_document: bool = False
    """A package says its document's identifier, not its own."""
    rewrites_uris: bool = False
    """Every ``uri`` of what is stored here is its address on this server."""
    empty_lists: bool = False
    """Lists of items and documents are there even when they are empty."""
    default_item_type: str | None = None
    """The CFItemType of an item that has none."""
    extensions: bool = False
    """Extensions are shown without being asked for (``?extensions=true``)."""
    paging_fields: tuple[str, ...] = ()
    """What a list says beside its entities."""
    limits: Limits = field(default_factory=lambda: Limits(default=100, maximum=3000))
    grammar: Grammar = STANDARD
    rejects_empty_fields: bool = False
    """Whether an empty ``fields`` is an error; else it is as if absent."""
    code_minor_names: tuple[str, ...] = ("imsx_codeMinor",)
    """The keys under which an error says its minor codes."""
    code_minors: Mapping[ErrorCode, str] = field(default_factory=dict)
    error_details: bool = False
    """An error lists its problems under ``imsx_error_details``."""

    @property
    def derivation(self) -> Derivation:
        """The values that it derives, as filters and sorts need to know them."""
        return Derivation(
            rewrites_uris=self.rewrites_uris, default_item_type=self.default_item_type
        )

    def dialect(self, resource: Resource | None = None) -> Dialect:
        """Return what may be asked of a resource type, or of an answer that is of none."""
        unknown = frozenset[str]()
        if self.version == "1.0" and resource:
            unknown = frozenset((*NEW_IN_1_1.get(resource, ()), "extensions"))
        return Dialect(
            self.rejects_empty_fields,
            unknown,
            has_sourced_ids=self.sourced_ids,
            searchable=resource is ITEMS,
        )

    def minor_code(self, reason: ErrorCode) -> str:
        """The profile's spelling of a reason."""
        return self.code_minors.get(reason) or MINOR_CODES[reason]


PLATFORM = Profile(
    name="platform",
    prefix="/case/1.1",
    title="TimeBack platform",
    writes=True,
    lists=("CFDocuments", "CFItems", "CFSubjects"),
    sourced_ids=True,
    package_links=True,
    # Neither the guide nor the standard asks for a type, but the SDK cannot read an item without.
    default_item_type="unknown",
    extensions=True,
    paging_fields=("total", "limit", "offset"),
    limits=Limits(default=10, maximum=100),
    grammar=PAIR,
    code_minor_names=("imsx_CodeMinor", "imsx_codeMinor"),
    error_details=True,
)

SDK = replace(
    PLATFORM,
    name="sdk",
    prefix="/ims/case/v1p1",
    title="TimeBack SDK",
    wraps=True,
    package_is_document=True,
    rewrites_uris=True,
    empty_lists=True,
    paging_fields=("totalCount", "pageCount", "pageNumber", "offset", "limit"),
    limits=Limits(default=100, maximum=3000),
    grammar=EXTENDED,
    code_minor_names=("imsx_CodeMinor",),
    code_minors=dict.fromkeys(("bad_selection", "bad_sort", "bad_filter"), "invaliddata"),
)

# The list of codes is closed: what it has no word for is said with the nearest.
CLOSED_CODES: dict[ErrorCode, str] = {
    **dict.fromkeys(("invalid", "bad_filter", "conflict", "too_large"), "invalid_selection_field"),
    "unsupported": "forbidden",
}

STANDARD_1_1 = Profile(
    name="standard",
    prefix="/1edtech/ims/case/v1p1",
    title="1EdTech CASE 1.1",
    document="/discovery/imscasev1p1_openapi3_v1p0.json",
    rejects_empty_fields=True,
    code_minors={
        **CLOSED_CODES,
        "unauthorised": "unauthorised_request",
        "invalid_id": "invalid_uuid",
    },
)

STANDARD_1_0 = replace(
    STANDARD_1_1,
    name="standard-1.0",
    prefix="/1edtech/ims/case/v1p0",
    title="1EdTech CASE 1.0",
    document="/discovery/imscasev1p0_openapi3_v1p0.json",
    version="1.0",
    rejects_empty_fields=False,
    code_minors={
        **CLOSED_CODES,
        "unauthorised": "unauthorisedrequest",
        "invalid_id": "invaliduuid",
    },
)

PROFILES = (PLATFORM, SDK, STANDARD_1_1, STANDARD_1_0)
"""The profiles that are served."""

ALIASES = {"/ims/case/v1p0": STANDARD_1_0.prefix}
"""Paths that clients of CASE 1.0 append to a host name, and the profile that they mean."""


def canonical_path(path: str) -> str:
    """Return a path with the prefix of its profile where it has an alias of that."""
    for alias, prefix in ALIASES.items():
        if path.startswith(f"{alias}/"):
            return prefix + path[len(alias) :]
    return path


EXPORT = replace(STANDARD_1_1, name="export", extensions=True, foreign_links=True)
"""The form in which packages are written to files: the standard's own, and whole, so that what is
read from it again is the same."""

"""API profiles: the variants of the CASE API that this server offers over the same data.

A profile is a path prefix and a set of options. Package ``rendering`` applies them to stored
entities, module ``exception_handlers`` to errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, ResourceType
from ..db.read.lists.response_fields import ResourceView
from ..exceptions import ErrorCode
from ..query.filter import EXTENDED, PAIR, STANDARD, FilterGrammar
from ..query.params import PageLimits, QueryRules

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
"""The minor codes of the platform profile; other profiles override some of them."""

NEW_IN_1_1 = {
    DOCUMENTS: ("frameworkType", "caseVersion"),
    ITEMS: ("subject", "subjectURI"),
    ASSOCIATIONS: ("notes",),
}
"""The fields that CASE 1.1 added to the classes of CASE 1.0."""


@dataclass(frozen=True, eq=False)
class ApiProfile:
    """The options of an API profile: a variant of the CASE API under its own path prefix.

    The defaults are those of the CASE 1.1 standard.
    """

    name: str
    prefix: str
    title: str
    document: str = "/openapi.json"
    """Path of its OpenAPI document below the prefix."""
    version: str = "1.1"
    """The version of CASE whose fields its responses have."""
    writes: bool = False
    """Offer TimeBack's operations too: PUT, POST, DELETE, package trees, and lists of items and
    subjects."""
    sourced_ids: bool = False
    """Add a ``sourcedId`` equal to ``identifier`` to entities and links."""
    wraps: bool = False
    """Wrap a single object in its class name: ``{"CFItem": {…}}``."""
    package_links: bool = False
    """Inside a package, include the links of items and associations to their document, and of the
    document to its package."""
    foreign_links: bool = False
    """Without ``package_links``, include at least the links to other documents."""
    package_is_document: bool = False
    """Return packages with the identifier of their document instead of their own."""
    rewrites_uris: bool = False
    """Replace each ``uri`` of a stored entity by its URL on this server."""
    empty_lists: bool = False
    """Include empty lists in items and documents."""
    default_item_type: str | None = None
    """CFItemType for items without one."""
    extensions: bool = False
    """Include extensions even without ``?extensions=true``."""
    paging_fields: tuple[str, ...] = ()
    """The paging fields of a list response."""
    limits: PageLimits = field(default_factory=lambda: PageLimits(default=100, maximum=3000))
    grammar: FilterGrammar = STANDARD
    rejects_empty_fields: bool = False
    """Reject an empty ``fields`` instead of ignoring it."""
    code_minor_names: tuple[str, ...] = ("imsx_codeMinor",)
    """Keys of the minor codes in an error."""
    code_minors: Mapping[ErrorCode, str] = field(default_factory=dict)
    error_details: bool = False
    """List the problems of an error under ``imsx_error_details``."""

    def get_resource_view(self, resource: ResourceType) -> ResourceView:
        """Return a ``ResourceView``: a resource type and how this profile changes its field values.

        Filters and sorting use the view to compare entities as clients see them, not as stored.
        """
        return ResourceView(resource, self.rewrites_uris, self.default_item_type)

    def get_query_rules(self, resource: ResourceType | None = None) -> QueryRules:
        """Return the ``QueryRules`` by which this profile validates query parameters.

        They say, for example, which fields exist. ``resource`` is the type of the requested
        entities, or None for other responses, such as packages.
        """
        unknown = frozenset[str]()
        if self.version == "1.0" and resource:
            unknown = frozenset((*NEW_IN_1_1.get(resource, ()), "extensions"))
        return QueryRules(
            self.rejects_empty_fields,
            unknown,
            has_sourced_ids=self.sourced_ids,
            searchable=resource is ITEMS,
        )

    def get_minor_code(self, reason: ErrorCode) -> str:
        """Return the ``imsx_codeMinor`` value with which this API profile reports an error.

        ``reason`` is one of the server's own error codes: ``unknown`` becomes ``unknownobject``.
        """
        return self.code_minors.get(reason) or MINOR_CODES[reason]


PLATFORM = ApiProfile(
    name="platform",
    prefix="/case/1.1",
    title="TimeBack platform",
    writes=True,
    sourced_ids=True,
    package_links=True,
    # Neither guide nor standard requires a type, but the SDK cannot parse an item without one.
    default_item_type="unknown",
    extensions=True,
    paging_fields=("total", "limit", "offset"),
    limits=PageLimits(default=10, maximum=100),
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
    limits=PageLimits(default=100, maximum=3000),
    grammar=EXTENDED,
    code_minor_names=("imsx_CodeMinor",),
    code_minors=dict.fromkeys(("bad_selection", "bad_sort", "bad_filter"), "invaliddata"),
)

# The standard's list of codes is closed; errors it has no code for get the nearest one.
CLOSED_CODES: dict[ErrorCode, str] = {
    **dict.fromkeys(("invalid", "bad_filter", "conflict", "too_large"), "invalid_selection_field"),
    "unsupported": "forbidden",
}

STANDARD_1_1 = ApiProfile(
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
"""The profiles that the server offers."""

NAMESPACE_PREFIX = re.compile(r"^/ns/([^/]*)(?=/|$)")
"""The path prefix of a namespace in test mode; group 1 is its name."""

ALIASES = {"/ims/case/v1p0/": f"{STANDARD_1_0.prefix}/"}
"""Path prefixes that clients of CASE 1.0 append to a host name, and the canonical prefixes."""

_PROFILES_BY_PREFIX = tuple((f"{profile.prefix}/", profile) for profile in PROFILES)


def resolve_path_alias(path: str) -> str:
    """Replace an alias at the start of a path with the prefix of its profile.

    For example, ``/ims/case/v1p0/`` is an alias of the CASE 1.0 profile. Other paths are unchanged.
    """
    for alias, prefix in ALIASES.items():
        if path.startswith(alias):
            return prefix + path[len(alias) :]
    return path


def is_profile_path(path: str) -> bool:
    """Return whether a path belongs to an API profile, such as /case/1.1/CFItems."""
    canonical = f"{resolve_path_alias(path)}/"
    return any(canonical.startswith(prefix) for prefix, _ in _PROFILES_BY_PREFIX)


def find_profile(path: str) -> ApiProfile:
    """Return the API profile that a path belongs to, or else the default profile, ``PLATFORM``."""
    for prefix, profile in _PROFILES_BY_PREFIX:
        if path.startswith(prefix):
            return profile
    canonical = f"{resolve_path_alias(path)}/"
    matches = (profile for prefix, profile in _PROFILES_BY_PREFIX if canonical.startswith(prefix))
    return next(matches, PLATFORM)


EXPORT = replace(STANDARD_1_1, name="export", extensions=True, foreign_links=True)
"""The profile of exported files: that of the standard, but complete, so that an import of the file
restores the same data."""

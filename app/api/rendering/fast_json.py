"""Rendering of stored JSON by text substitution, without parsing it.

On the platform profile most stored entities need no change but the addition of ``sourcedId``;
parsing and serializing them would cost more than the rest of the request. Stored JSON is compact
and escapes quotes in strings, so ``"identifier":"`` always starts a member.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, ResourceType
from ..profiles import ApiProfile

IDENTIFIER_KEY = '"identifier":"'

REQUIRED_KEYS: dict[ResourceType, str | None] = {
    ITEMS: '"CFItemType":',
    DOCUMENTS: '"CFPackageURI":',
    ASSOCIATIONS: None,
}
"""The key that an entity must contain, because the renderer would add it otherwise."""


def can_insert_sourced_ids(profile: ApiProfile) -> bool:
    """Return whether an API profile adds members to stored entities, but changes nothing else.

    If so, ``sourcedId`` can be inserted into the stored JSON text, without parsing it.
    """
    has_changes = (
        profile.rewrites_uris
        or profile.empty_lists
        or not profile.extensions
        or profile.version == "1.0"
    )
    return profile.sourced_ids and profile.package_links and not has_changes


def join_with_sourced_ids(
    resource: ResourceType, bodies: Sequence[str], separator: str = ","
) -> str | None:
    """Join stored JSON objects into one string, with a ``sourcedId`` after each ``identifier``.

    Returns None if the caller must parse and render the entities instead. This is so if
    ``REQUIRED_KEYS`` lacks their type, or if one of the entities has extensions, lacks the required
    key or has an identifier with an escape sequence.
    """
    if resource not in REQUIRED_KEYS:
        return None
    text, required_key = separator.join(bodies), REQUIRED_KEYS[resource]
    if '"extensions":' in text or (required_key and text.count(required_key) != len(bodies)):
        return None
    first, *parts = text.split(IDENTIFIER_KEY)
    edited = [first]
    for part in parts:
        identifier = part[: part.index('"')]
        if "\\" in identifier:
            return None
        edited.append(f'{identifier}","sourcedId":"{part}')
    return IDENTIFIER_KEY.join(edited)

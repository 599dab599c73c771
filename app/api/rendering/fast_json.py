"""Bodies as text, for answers that differ from what is stored by their second identifier only.

Most bodies do, on the platform's profile; reading them into objects to write them out again would
cost more than everything else that is done for an answer. Stored bodies are compact JSON, in which
a quote inside a string is always escaped: ``"identifier":"`` is a name and the start of its value.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, Resource
from ..profiles import Profile

NAME = '"identifier":"'

UUID = 36
"""How long the identifiers are that nearly all frameworks have."""

SAID: dict[Resource, str | None] = {
    ITEMS: '"CFItemType":',
    DOCUMENTS: '"CFPackageURI":',
    ASSOCIATIONS: None,
}
"""What such a body has to say itself, for nothing else would be filled in."""


def can_edit_text(profile: Profile) -> bool:
    """Whether a profile adds a second identifier, and leaves everything else as it is stored."""
    changes = (
        profile.rewrites_uris,
        profile.empty_lists,
        not profile.extensions,
        profile.version == "1.0",
    )
    return profile.sourced_ids and profile.package_links and not any(changes)


def add_sourced_ids(resource: Resource, bodies: Sequence[str], separator: str = ",") -> str | None:
    """The bodies with something between them, each identifier beside it as ``sourcedId``.

    None when one of them needs more than that.
    """
    if resource not in SAID:
        return None
    whole, said = separator.join(bodies), SAID[resource]
    if '"extensions":' in whole or (said and whole.count(said) != len(bodies)):
        return None
    first, *parts = whole.split(NAME)
    heads = [part[: UUID + 1] for part in parts]
    joined = "".join(heads)
    ends = joined[UUID :: UUID + 1]
    if ends == '"' * len(parts) == '"' * joined.count('"') and "\\" not in joined:
        # As nearly everywhere, all identifiers are UUIDs: they need not be looked for one by one.
        found = [f'{head},"sourcedId":"{part}' for head, part in zip(heads, parts, strict=True)]
        return NAME.join([first, *found])
    found = [first]
    for part in parts:
        end = part.index('"')
        identifier = part[:end]
        if "\\" in identifier:
            return None
        found.append(f'{identifier}","sourcedId":"{part}')
    return NAME.join(found)


def json_prefixes(resource: Resource, bodies: Sequence[str]) -> list[bytes] | None:
    """As ``both_ids``, each by itself and without its closing brace."""
    # No body has a line feed of its own: in a string it is escaped.
    whole = add_sourced_ids(resource, bodies, "\n")
    return None if whole is None else whole[:-1].encode().split(b"}\n")

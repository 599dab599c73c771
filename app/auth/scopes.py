"""What a token may allow: the three scopes of CASE, and how a claim is read into them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Scope(StrEnum):
    """A permission, spelled as the URL that stands for it in tokens."""

    READONLY = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.readonly"
    CREATEPUT = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.createput"
    DELETE = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.delete"


DESCRIPTIONS = {
    Scope.READONLY: "Read frameworks and everything in them",
    Scope.CREATEPUT: "Create and replace",
    Scope.DELETE: "Delete associations",
}

ScopeMap = Mapping[str, frozenset[Scope]]
"""Which scopes each spelling in a token grants."""

STANDARD_SPELLINGS: ScopeMap = {
    spelling: frozenset({scope})
    for scope in Scope
    for spelling in (scope.value, scope.value.replace("/v1p0/", "/v1p1/"))
}


def parse_scopes(claim: object, spellings: ScopeMap = STANDARD_SPELLINGS) -> frozenset[Scope]:
    """Return the scopes that a claim grants: words of one string, or an array of strings.

    Only exact spellings count; foreign scopes are ignored.
    """
    if isinstance(claim, str):
        words: Collection[object] = claim.split()
    elif isinstance(claim, list | tuple | frozenset):
        words = claim
    else:
        words = ()
    granted = (spellings.get(word) for word in words if isinstance(word, str))
    return frozenset().union(*filter(None, granted))


def token_scopes(claims: Mapping[str, object], scope_map: ScopeMap) -> frozenset[Scope]:
    """Return the scopes that the ``scope``, ``scp`` and ``roles`` claims of a token grant.

    Okta and Entra ID write ``scp`` (a string or an array) where RFC 8693 section 4.2 has
    ``scope``. Roles are names of the operator's own, so only ``scope_map`` gives them a meaning.
    """
    spellings = {**STANDARD_SPELLINGS, **scope_map}
    return frozenset().union(
        parse_scopes(claims.get("scope"), spellings),
        parse_scopes(claims.get("scp"), spellings),
        parse_scopes(claims.get("roles"), scope_map),
    )


def parse_scope_map(scope_map: Mapping[str, Collection[str]]) -> ScopeMap:
    """Return a scope map of the settings, whose scopes are named by their last word, as scopes."""
    by_name = {scope.name.lower(): scope for scope in Scope}
    return {
        spelling: frozenset(by_name[name] for name in names)
        for spelling, names in scope_map.items()
    }


def format_scopes(scopes: Collection[Scope]) -> str:
    """Write scopes as a token carries them: one string, always in the same order."""
    return " ".join(scope for scope in Scope if scope in scopes)

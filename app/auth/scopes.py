"""What a token may allow: the three scopes of CASE, and how a claim is read into them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


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

_SPELLINGS = {
    spelling: scope
    for scope in Scope
    for spelling in (scope.value, scope.value.replace("/v1p0/", "/v1p1/"))
}


def parse_scopes(claim: object) -> frozenset[Scope]:
    """The scopes that a claim names: words in one string, or an array of them.

    Whatever is not exactly a scope, in either version's spelling, is somebody else's and ignored.
    """
    if isinstance(claim, str):
        words: Collection[object] = claim.split()
    elif isinstance(claim, list | tuple | frozenset):
        words = claim
    else:
        words = ()
    return frozenset(
        _SPELLINGS[word] for word in words if isinstance(word, str) and word in _SPELLINGS
    )


def spell(scopes: Collection[Scope]) -> str:
    """Write scopes as a token carries them: one string, always in the same order."""
    return " ".join(scope for scope in Scope if scope in scopes)

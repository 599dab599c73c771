"""What each field of a class holds, read off the model: how many of what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ..case.model import CaseObject, KeywordLinks
from ..case.types import without_null
from .fixes import Fixer, fixer_for


@dataclass(frozen=True)
class FieldSpec:
    """What one field holds."""

    model: type[CaseObject] | None
    """The class of the objects it holds, if it holds objects."""
    fix: Fixer
    """What mends the plain values it holds, if it holds plain values."""
    required: bool
    many: bool = False
    accepts_scalar: bool = False
    """A list that may be written as its only member."""


@cache
def field_specs(model: type[CaseObject]) -> dict[str, FieldSpec]:
    """The shape of each field of a class."""
    hints = get_type_hints(model, include_extras=True)
    return {
        name: _shape(hints[name], required=field.is_required())
        for name, field in model.model_fields.items()
    }


@cache
def names_by_casefold(model: type[CaseObject]) -> dict[str, str]:
    """The names of the fields of a class by what is left of them without letter case."""
    return {name.casefold(): name for name in model.model_fields}


def _shape(hint: Any, *, required: bool) -> FieldSpec:
    hint = without_null(hint)
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(inner) is not list:
        is_model = isinstance(inner, type) and issubclass(inner, CaseObject)
        return FieldSpec(inner if is_model else None, fixer_for(hint), required)
    member = _shape(get_args(inner)[0], required=required)
    return replace(member, many=True, accepts_scalar=hint == KeywordLinks)

"""Field types of the model classes, derived from their type annotations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ..case.model import CaseModel, KeywordLinks
from ..case.types import unwrap_omittable
from .fixes import Fixer, get_fixer


@dataclass(frozen=True)
class FieldSpec:
    """The properties of a model class's field that repairs depend on, such as its fixer."""

    model: type[CaseModel] | None
    """The class of its objects, or None for other values."""
    fix: Fixer
    """The function that repairs common mistakes in its values, if they are not objects."""
    required: bool
    many: bool = False
    """True if the field contains an array."""
    accepts_scalar: bool = False
    """True if an array of one member may be written as that member alone."""


@cache
def get_field_specs(model: type[CaseModel]) -> dict[str, FieldSpec]:
    """Return a ``FieldSpec`` for each field of a model class, keyed by the field's name."""
    hints = get_type_hints(model, include_extras=True)
    return {
        name: _field_spec(hints[name], required=field.is_required())
        for name, field in model.model_fields.items()
    }


@cache
def get_field_names_by_casefold(model: type[CaseModel]) -> dict[str, str]:
    """Return a dict from the case-folded name of each field of a model class to its name.

    It gives the standard name of a field that a file spells with different capitalization.
    """
    return {name.casefold(): name for name in model.model_fields}


def get_or_create_extensions(model: type[CaseModel], obj: dict[str, Any]) -> dict[str, Any] | None:
    """Return the ``extensions`` object of an entity of class ``model``, creating it if missing.

    If the class has a list of extensions, append a new object and return that. Return None if the
    class has no ``extensions`` or the value has the wrong type.
    """
    spec = get_field_specs(model).get("extensions")
    if spec is None:
        return None
    extensions = obj.setdefault("extensions", [] if spec.many else {})
    if spec.many and isinstance(extensions, list):
        extensions.append({})
        extensions = extensions[-1]
    return extensions if isinstance(extensions, dict) else None


def _field_spec(hint: Any, *, required: bool) -> FieldSpec:
    hint = unwrap_omittable(hint)
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(inner) is not list:
        is_model = isinstance(inner, type) and issubclass(inner, CaseModel)
        return FieldSpec(inner if is_model else None, get_fixer(hint), required)
    member = _field_spec(get_args(inner)[0], required=required)
    return replace(member, many=True, accepts_scalar=hint == KeywordLinks)

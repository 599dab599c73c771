"""The normalizer: converts every field of a package to the type that the model requires."""

from __future__ import annotations

from typing import Any

from ..case.model import CaseModel, CFPckgItem, Entity, LinkURI
from ..case.validation.parsing import FIELD_ALIASES
from .completion import fill_in_full_statement, make_link_from_string
from .field_spec import (
    FieldSpec,
    get_field_names_by_casefold,
    get_field_specs,
    get_or_create_extensions,
)
from .fixes import REMOVED, suggest_string_fix
from .references import Entities
from .repair_log import Json, RepairLog, join_path

OTHER_NAMES = {
    "educationallevel": "educationLevel",
    "licenceuri": "licenseURI",
    "listenuminsource": "listEnumeration",
    "originnode": "originNodeURI",
    "destinationnode": "destinationNodeURI",
}
"""Case-folded field names of drafts of the standard, and of older versions of OpenCASE."""

COMMA_SEPARATED_FIELDS = {"educationLevel"}
"""Array fields for which a string is split at commas; in others it becomes the only member."""

MAX_UNKNOWN_FIELDS = 1000
"""Maximum number of unknown fields that are moved; more are unlikely to be a mistake."""


class PackageNormalizer:
    """Converts the fields of a JSON package to the types that the classes of the model declare.

    It logs each repair, and collects the entities and links that it visits for later repairs.
    """

    def __init__(self, log: RepairLog, document_title: str | None) -> None:
        self.log = log
        self.document_title = document_title
        self.entities: Entities = []
        self.links: list[tuple[str, Json]] = []
        """Each link with the name of its field."""
        self.source_strings: dict[int, str] = {}
        """The strings that links were made from, by the ``id()`` of the link."""

    def repair_object(self, model: type[CaseModel], obj: Json, path: str) -> None:
        """Repair a JSON object and all objects nested in it, in place.

        ``model`` is the class that declares the object's fields, and ``path`` the object's path in
        the file, for the repair log. Appends each entity to ``self.entities``, each link to
        ``self.links``.
        """
        path = self.log.record_path(obj, path)
        self._drop_nulls(obj, path)
        self._rename_fields(model, obj, path)
        for name, spec in get_field_specs(model).items():
            if name in obj:
                self._fix_field(spec, obj, name)
        if issubclass(model, CFPckgItem):
            fill_in_full_statement(obj, self.log)
        if not obj.keys() <= get_field_specs(model).keys():
            self._move_unknown_to_extensions(model, obj, path)
        if issubclass(model, Entity):
            self.entities.append((model, obj))

    def _drop_nulls(self, obj: Json, path: str) -> None:
        for name in [name for name, member in obj.items() if member is None]:
            del obj[name]
            self.log.record("null", join_path(path, name))

    def _rename_fields(self, model: type[CaseModel], obj: Json, path: str) -> None:
        for name in _find_unknown_fields(model, obj):
            standard, meaning = _get_standard_name_and_value(model, name, obj[name])
            if standard and obj.get(standard, meaning) == meaning:
                del obj[name]
                obj[standard] = meaning
                self.log.record_rename(obj, name, standard)
                self.log.record("field-name", join_path(path, name), name, standard)

    def _fix_field(self, spec: FieldSpec, obj: Json, name: str) -> None:
        path = self.log.get_original_path(obj, name)
        fix = self._fix_list if spec.many else self._fix_value
        obj[name] = fix(spec, name, obj[name], path)
        if obj[name] is REMOVED:
            del obj[name]

    def _fix_list(self, spec: FieldSpec, name: str, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return self._fix_members(spec, name, value, path)
        fixed_value = self._fix_value(spec, name, value, path)
        if isinstance(fixed_value, dict) and not spec.accepts_scalar:
            self.log.record("object-for-list", path, value, [fixed_value])
            return [fixed_value]
        if isinstance(fixed_value, str) and spec.fix is suggest_string_fix:
            members = [fixed_value]
            if name in COMMA_SEPARATED_FIELDS:
                members = [part.strip() for part in fixed_value.split(",") if part.strip()]
            self.log.record("string-for-list", path, fixed_value, members)
            return members
        return fixed_value

    def _fix_members(self, spec: FieldSpec, name: str, members: list[Any], path: str) -> list[Any]:
        fixed_members = []
        for index, member in enumerate(members):
            member_path = f"{path}[{index}]"
            if member is None:
                self.log.record("null", member_path)
            elif (fixed_member := self._fix_value(spec, name, member, member_path)) is not REMOVED:
                fixed_members.append(fixed_member)
        return fixed_members

    def _fix_value(self, spec: FieldSpec, name: str, value: Any, path: str) -> Any:
        if spec.model is None:
            return self._fix_scalar(spec, value, path)
        if isinstance(value, str) and issubclass(spec.model, LinkURI):
            value = self._make_link(name, value, path)
        if isinstance(value, dict):
            self.repair_object(spec.model, value, path)
            if issubclass(spec.model, LinkURI):
                self.links.append((name, value))
        return value

    def _fix_scalar(self, spec: FieldSpec, value: Any, path: str) -> Any:
        while value is not REMOVED and (fix := spec.fix(value)):
            kind, fixed_value = fix
            self.log.record(kind, path, value, None if fixed_value is REMOVED else fixed_value)
            value = fixed_value
        return value

    def _make_link(self, name: str, text: str, path: str) -> Any:
        if not text.strip():
            self.log.record("empty-string", path, text)
            return REMOVED
        link = make_link_from_string(text, name, self.document_title)
        self.source_strings[id(link)] = text
        self.log.record("string-for-link", path, text, link)
        return link

    def _move_unknown_to_extensions(self, model: type[CaseModel], obj: Json, path: str) -> None:
        """Move the fields of ``obj`` that its class, ``model``, lacks to ``extensions``.

        Drops them if the class, such as a link, has no ``extensions``. A field stays in place if
        ``extensions`` or the standard's field for this alias has another value, because only a
        person can decide which one is right.
        """
        unknown_fields = _find_unknown_fields(model, obj)
        extensions = get_or_create_extensions(model, obj) if unknown_fields else None
        for name in unknown_fields:
            if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in obj:
                continue  # it contradicts the standard's field, and only a person can decide
            if "extensions" not in get_field_specs(model):
                self.log.record("unknown-link-field", join_path(path, name), obj.pop(name))
                self.log.count_repaired_field("unknown-link-field", name)
            elif extensions is not None and extensions.get(name, obj[name]) == obj[name]:
                extensions[name] = obj.pop(name)
                target = f"extensions.{name}"
                self.log.record("unknown-field", join_path(path, name), extensions[name], target)
                self.log.count_repaired_field("unknown-field", name)


def _find_unknown_fields(model: type[CaseModel], obj: Json) -> list[str]:
    """Return the names of the fields of ``obj`` that ``model`` lacks.

    Returns [] if there are more than 1,000, which are unlikely to be a mistake.
    """
    names = [name for name in obj if name not in get_field_specs(model)]
    return names if len(names) <= MAX_UNKNOWN_FIELDS else []


def _get_standard_name_and_value(
    model: type[CaseModel], name: str, value: Any
) -> tuple[str | None, Any]:
    """Return (name, value): the standard name of a field, and its value in the standard's form.

    For example, ``sourcedId`` is renamed to ``identifier``, and a string in ``licenseUri`` becomes
    a link in ``licenseURI``. The name is None if the field is unknown.
    """
    if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in get_field_specs(model):
        standard, convert = FIELD_ALIASES[name]
        return standard, convert(value)
    folded_name = name.casefold()
    return get_field_names_by_casefold(model).get(
        OTHER_NAMES.get(folded_name, folded_name).casefold()
    ), value

"""The walk through a package that brings every field into the shape the model gives it."""

from __future__ import annotations

from typing import Any

from ..case.model import CaseObject, CFPckgItem, Entity, LinkURI
from ..case.parsing import FIELD_ALIASES
from .completion import complete_statement, link_from_string
from .field_spec import FieldSpec, field_specs, names_by_casefold
from .fixes import REMOVED, fix_string
from .references import Entities
from .repair_log import Json, RepairLog, join_path

DRAFT_NAMES = {"educationallevel": "educationLevel"}
"""Names of drafts of the standard, without letter case."""

COMMA_SEPARATED_FIELDS = {"educationLevel"}
"""Lists that are written as one text with commas; others are one member when a text."""


MAX_UNKNOWN_FIELDS = 1000
"""How many unknown fields an object may have to be mended; no slip of a pen makes more."""


class Normalizer:
    """Brings objects into shape, and remembers the entities and links it met."""

    def __init__(self, log: RepairLog, document_title: str | None) -> None:
        self.log = log
        self.document_title = document_title
        self.entities: Entities = []
        self.links: list[tuple[str, Json]] = []
        """Each link with the name of its field."""
        self.source_strings: dict[int, str] = {}
        """The strings that links were made from, by the id of the link."""

    def visit(self, model: type[CaseObject], value: Json, path: str) -> None:
        """Bring an object into shape."""
        self.log.set_path(value, path)
        self._drop_nulls(value, path)
        self._rename(model, value, path)
        for name, shape in field_specs(model).items():
            if name in value:
                self._field(shape, value, name)
        if issubclass(model, CFPckgItem):
            complete_statement(value, self.log)
        if not value.keys() <= field_specs(model).keys():
            self._move_unknown_to_extensions(model, value, path)
        self._remember(model, value)

    def _remember(self, model: type[CaseObject], value: Json) -> None:
        if issubclass(model, Entity):
            self.entities.append((model, value))

    def _drop_nulls(self, value: Json, path: str) -> None:
        for name in [name for name, held in value.items() if held is None]:
            del value[name]
            self.log.record("null", join_path(path, name))

    def _rename(self, model: type[CaseObject], value: Json, path: str) -> None:
        for name in _unknown(model, value):
            standard, meant = _standard_name(model, name, value[name])
            if standard and value.get(standard, meant) == meant:
                del value[name]
                value[standard] = meant
                self.log.record_rename(value, name, standard)
                self.log.record("field-name", join_path(path, name), name, standard)

    def _field(self, shape: FieldSpec, value: Json, name: str) -> None:
        path = self.log.path_of(value, name)
        if shape.many:
            mended = self._list(shape, name, value[name], path)
        else:
            mended = self._one(shape, name, value[name], path)
        if mended is REMOVED:
            del value[name]
        else:
            value[name] = mended

    def _list(self, shape: FieldSpec, name: str, held: Any, path: str) -> Any:
        if isinstance(held, list):
            return self._members(shape, name, held, path)
        mended = self._one(shape, name, held, path)
        if isinstance(mended, dict) and not shape.accepts_scalar:
            self.log.record("object-for-list", path, held, [mended])
            return [mended]
        if isinstance(mended, str) and shape.fix is fix_string:
            members = _members_of(mended) if name in COMMA_SEPARATED_FIELDS else [mended]
            self.log.record("text-for-list", path, mended, members)
            return members
        return mended

    def _members(self, shape: FieldSpec, name: str, members: list[Any], path: str) -> list[Any]:
        kept = []
        for index, member in enumerate(members):
            here = f"{path}[{index}]"
            if member is None:
                self.log.record("null", here)
            elif (mended := self._one(shape, name, member, here)) is not REMOVED:
                kept.append(mended)
        return kept

    def _one(self, shape: FieldSpec, name: str, value: Any, path: str) -> Any:
        if shape.model is None:
            return self._plain(shape, value, path)
        if isinstance(value, str) and issubclass(shape.model, LinkURI):
            value = self._link(name, value, path)
        if isinstance(value, dict):
            self.visit(shape.model, value, path)
            if issubclass(shape.model, LinkURI):
                self.links.append((name, value))
        return value

    def _plain(self, shape: FieldSpec, value: Any, path: str) -> Any:
        while value is not REMOVED and (step := shape.fix(value)):
            kind, mended = step
            self.log.record(kind, path, value, None if mended is REMOVED else mended)
            value = mended
        return value

    def _link(self, name: str, written: str, path: str) -> Any:
        if not written.strip():
            self.log.record("empty-text", path, written)
            return REMOVED
        made = link_from_string(written, name, self.document_title)
        self.source_strings[id(made)] = written
        self.log.record("text-for-link", path, written, made)
        return made

    def _move_unknown_to_extensions(self, model: type[CaseObject], value: Json, path: str) -> None:
        """Move what is nobody's field under extensions, or drop it where there are none."""
        unknown = _unknown(model, value)
        home = self._get_or_create_extensions(model, value) if unknown else None
        for name in unknown:
            if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in value:
                continue  # one thing said in two ways, which only a person can judge
            if "extensions" not in field_specs(model):
                self.log.record("unknown-link-field", join_path(path, name), value.pop(name))
            elif home is not None and home.get(name, value[name]) == value[name]:
                home[name] = value.pop(name)
                moved = f"extensions.{name}"
                self.log.record("unknown-field", join_path(path, name), home[name], moved)

    def _get_or_create_extensions(self, model: type[CaseObject], value: Json) -> Json | None:
        """Where unknown fields go, if extensions are what they should be."""
        if "extensions" not in field_specs(model):
            return None
        many = field_specs(model)["extensions"].many
        found = value.setdefault("extensions", [] if many else {})
        if many and isinstance(found, list):
            found.append({})
            found = found[-1]
        return found if isinstance(found, dict) else None


def _unknown(model: type[CaseObject], value: Json) -> list[str]:
    """The names of fields that the model has not, unless there are too many to be mended."""
    names = [name for name in value if name not in field_specs(model)]
    return names if len(names) <= MAX_UNKNOWN_FIELDS else []


def _standard_name(model: type[CaseObject], name: str, value: Any) -> tuple[str | None, Any]:
    """The standard's name for a field of another name, and what its value means there."""
    if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in field_specs(model):
        standard, meaning = FIELD_ALIASES[name]
        return standard, meaning(value)
    folded = name.casefold()
    return names_by_casefold(model).get(DRAFT_NAMES.get(folded, folded).casefold()), value


def _members_of(written: str) -> list[str]:
    return [part.strip() for part in written.split(",") if part.strip()]

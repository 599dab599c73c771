"""The walk through a package that brings every field into the shape the model gives it."""

from __future__ import annotations

from typing import Any

from ..case.model import CaseObject, CFPckgItem, Entity, LinkURI
from ..case.parsing import FIELD_ALIASES
from .completion import complete_statement, link
from .field_spec import Shape, shapes, spellings
from .fixes import REMOVED, text
from .references import Entities
from .repair_log import Json, RepairLog, under

DIALECT = {"educationallevel": "educationLevel"}
"""Names of drafts of the standard, without letter case."""

SEPARATED = {"educationLevel"}
"""Lists that are written as one text with commas; others are one member when a text."""


MOST_UNKNOWN = 1000
"""How many unknown fields an object may have to be mended; no slip of a pen makes more."""


class Walk:
    """Brings objects into shape, and remembers the entities and links it met."""

    def __init__(self, findings: RepairLog, document_title: str | None) -> None:
        self.findings = findings
        self.document_title = document_title
        self.entities: Entities = []
        self.links: list[tuple[str, Json]] = []
        """Each link with the name of its field."""
        self.texts: dict[int, str] = {}
        """The strings that links were made from, by the id of the link."""

    def visit(self, model: type[CaseObject], value: Json, path: str) -> None:
        """Bring an object into shape."""
        self.findings.place(value, path)
        self._drop_nulls(value, path)
        self._rename(model, value, path)
        for name, shape in shapes(model).items():
            if name in value:
                self._field(shape, value, name)
        if issubclass(model, CFPckgItem):
            complete_statement(value, self.findings)
        if not value.keys() <= shapes(model).keys():
            self._put_away_unknown(model, value, path)
        self._remember(model, value)

    def _remember(self, model: type[CaseObject], value: Json) -> None:
        if issubclass(model, Entity):
            self.entities.append((model, value))

    def _drop_nulls(self, value: Json, path: str) -> None:
        for name in [name for name, held in value.items() if held is None]:
            del value[name]
            self.findings.note("null", under(path, name))

    def _rename(self, model: type[CaseObject], value: Json, path: str) -> None:
        for name in _unknown(model, value):
            standard, meant = _standard_name(model, name, value[name])
            if standard and value.get(standard, meant) == meant:
                del value[name]
                value[standard] = meant
                self.findings.rename(value, name, standard)
                self.findings.note("field-name", under(path, name), name, standard)

    def _field(self, shape: Shape, value: Json, name: str) -> None:
        path = self.findings.place_of(value, name)
        if shape.many:
            mended = self._list(shape, name, value[name], path)
        else:
            mended = self._one(shape, name, value[name], path)
        if mended is REMOVED:
            del value[name]
        else:
            value[name] = mended

    def _list(self, shape: Shape, name: str, held: Any, path: str) -> Any:
        if isinstance(held, list):
            return self._members(shape, name, held, path)
        mended = self._one(shape, name, held, path)
        if isinstance(mended, dict) and not shape.one_will_do:
            self.findings.note("object-for-list", path, held, [mended])
            return [mended]
        if isinstance(mended, str) and shape.mend is text:
            members = _members_of(mended) if name in SEPARATED else [mended]
            self.findings.note("text-for-list", path, mended, members)
            return members
        return mended

    def _members(self, shape: Shape, name: str, members: list[Any], path: str) -> list[Any]:
        kept = []
        for index, member in enumerate(members):
            here = f"{path}[{index}]"
            if member is None:
                self.findings.note("null", here)
            elif (mended := self._one(shape, name, member, here)) is not REMOVED:
                kept.append(mended)
        return kept

    def _one(self, shape: Shape, name: str, value: Any, path: str) -> Any:
        if shape.model is None:
            return self._plain(shape, value, path)
        if isinstance(value, str) and issubclass(shape.model, LinkURI):
            value = self._link(name, value, path)
        if isinstance(value, dict):
            self.visit(shape.model, value, path)
            if issubclass(shape.model, LinkURI):
                self.links.append((name, value))
        return value

    def _plain(self, shape: Shape, value: Any, path: str) -> Any:
        while value is not REMOVED and (step := shape.mend(value)):
            kind, mended = step
            self.findings.note(kind, path, value, None if mended is REMOVED else mended)
            value = mended
        return value

    def _link(self, name: str, written: str, path: str) -> Any:
        if not written.strip():
            self.findings.note("empty-text", path, written)
            return REMOVED
        made = link(written, name, self.document_title)
        self.texts[id(made)] = written
        self.findings.note("text-for-link", path, written, made)
        return made

    def _put_away_unknown(self, model: type[CaseObject], value: Json, path: str) -> None:
        """Move what is nobody's field under extensions, or drop it where there are none."""
        unknown = _unknown(model, value)
        home = self._extensions(model, value) if unknown else None
        for name in unknown:
            if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in value:
                continue  # one thing said in two ways, which only a person can judge
            if "extensions" not in shapes(model):
                self.findings.note("unknown-link-field", under(path, name), value.pop(name))
            elif home is not None and home.get(name, value[name]) == value[name]:
                home[name] = value.pop(name)
                moved = f"extensions.{name}"
                self.findings.note("unknown-field", under(path, name), home[name], moved)

    def _extensions(self, model: type[CaseObject], value: Json) -> Json | None:
        """Where unknown fields go, if extensions are what they should be."""
        if "extensions" not in shapes(model):
            return None
        many = shapes(model)["extensions"].many
        found = value.setdefault("extensions", [] if many else {})
        if many and isinstance(found, list):
            found.append({})
            found = found[-1]
        return found if isinstance(found, dict) else None


def _unknown(model: type[CaseObject], value: Json) -> list[str]:
    """The names of fields that the model has not, unless there are too many to be mended."""
    names = [name for name in value if name not in shapes(model)]
    return names if len(names) <= MOST_UNKNOWN else []


def _standard_name(model: type[CaseObject], name: str, value: Any) -> tuple[str | None, Any]:
    """The standard's name for a field of another name, and what its value means there."""
    if name in FIELD_ALIASES and FIELD_ALIASES[name][0] in shapes(model):
        standard, meaning = FIELD_ALIASES[name]
        return standard, meaning(value)
    folded = name.casefold()
    return spellings(model).get(DIALECT.get(folded, folded).casefold()), value


def _members_of(written: str) -> list[str]:
    return [part.strip() for part in written.split(",") if part.strip()]

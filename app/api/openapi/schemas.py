"""JSON Schemas of the OpenAPI documents: the standard's classes, and this server's own."""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from ...case import model
from ...case.resources import RESOURCES
from ...case.types import IDENTIFIER_SCHEMA
from . import examples

Schema: TypeAlias = dict[str, Any]

PREFIX = "#/components/schemas/"


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"{PREFIX}{name}"}


class _Schemas(GenerateJsonSchema):
    """Generates schemas of responses, in which an optional field may be absent, but never null."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        """Return the schema of the value without null."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


MODELS: list[type[BaseModel]] = [
    value
    for value in vars(model).values()
    if isinstance(value, type)
    and issubclass(value, model.CaseObject)
    and value not in {model.CaseObject, model.Entity}
]
"""All classes of the model, in the order of the binding."""


KEYWORDS: Schema = {
    **ref("LinkURI"),
    "description": "Accepts one link or an array of links, all of which are stored; responses "
    "contain the last.",
}


def model_schemas(*, sourced_ids: bool) -> dict[str, Schema]:
    """Return the schemas of all classes as they are in responses."""
    _, document = models_json_schema(
        [(class_, "validation") for class_ in MODELS],
        ref_template=PREFIX + "{model}",
        schema_generator=_Schemas,
    )
    schemas: dict[str, Schema] = document["$defs"]
    for name in ("CFItem", "CFPckgItem"):
        schemas[name]["properties"]["conceptKeywordsURI"] = KEYWORDS
    # Stored documents from packages may lack it.
    schemas["CFDocument"]["required"].remove("caseVersion")
    if sourced_ids:
        schemas["CFPackage"]["properties"]["identifier"] = IDENTIFIER_SCHEMA
        for schema in schemas.values():
            if "identifier" in schema["properties"]:
                sourced_id = {**IDENTIFIER_SCHEMA, "description": "The same as identifier."}
                schema["properties"]["sourcedId"] = sourced_id
    return schemas


INPUT = "Input"
"""The suffix of the schema of a class in request bodies."""

ALSO_REQUIRED = {"CFDocument": ["caseVersion"], "CFPackage": ["CFItems", "CFAssociations"]}
"""Fields that a request body must contain, although a response or a file may lack them."""


def input_schemas(response_schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Return the schemas of request bodies, which are those of responses with null allowed."""
    schemas = {
        f"{name}{INPUT}": _as_input(name, schema) for name, schema in response_schemas.items()
    }
    link = ref(f"LinkURI{INPUT}")
    keywords = {
        "anyOf": [link, {"type": "array", "items": link}, {"type": "null"}],
        "description": KEYWORDS["description"],
    }
    for name in ("CFItem", "CFPckgItem"):
        schemas[name + INPUT]["properties"]["conceptKeywordsURI"] = keywords
    return schemas


def _as_input(name: str, schema: Schema) -> Schema:
    input_schema: Schema = _with_input_references(schema)
    input_schema["required"] = [*input_schema.get("required", ()), *ALSO_REQUIRED.get(name, ())]
    for field in input_schema["properties"].keys() - {*input_schema["required"]}:
        value = input_schema["properties"][field]
        input_schema["properties"][field] = {"anyOf": [value, {"type": "null"}]}
    return input_schema


def _with_input_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_input_references(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"{part}{INPUT}" if name == "$ref" else _with_input_references(part)
        for name, part in node.items()
    }


STATUS_INFO: Schema = {
    "type": "object",
    "description": "An error (CASE 1.1 binding, imsx_StatusInfo).",
    "required": ["imsx_codeMajor", "imsx_severity", "imsx_description"],
    "properties": {
        "imsx_codeMajor": {"type": "string", "enum": ["failure"]},
        "imsx_severity": {"type": "string", "enum": ["error"]},
        "imsx_description": {"type": "string"},
        "imsx_CodeMinor": ref("imsx_CodeMinor"),
        "imsx_codeMinor": ref("imsx_CodeMinor"),
        "imsx_error_details": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "example": examples.STATUS_INFO,
}

CODE_MINOR: Schema = {
    "type": "object",
    "required": ["imsx_codeMinorField"],
    "properties": {
        "imsx_codeMinorField": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "imsx_codeMinorFieldName": {"type": "string"},
                    "imsx_codeMinorFieldValue": {"type": "string"},
                },
            },
        }
    },
}

UPLOAD_RESULT: Schema = {
    "type": "object",
    "required": ["success", "message", "result"],
    "properties": {
        "success": {"type": "boolean"},
        "message": {"type": "string"},
        "result": {
            "type": "object",
            "required": ["documentId", "stats", "changes", "success"],
            "properties": {
                "documentId": {"type": "string"},
                "stats": {
                    "type": "object",
                    "properties": {
                        name: {"type": "integer"} for name in ("documents", "items", "associations")
                    },
                },
                "changes": {
                    "type": "object",
                    "description": "How many entities of the package were created, updated or "
                    "unchanged, and how many of the framework were deleted because the package "
                    "does not contain them.",
                    "required": ["created", "updated", "unchanged", "deleted"],
                    "properties": {
                        name: {"type": "integer"}
                        for name in ("created", "updated", "unchanged", "deleted")
                    },
                },
                "success": {"type": "boolean"},
                "repairs": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
}

GROUPS: Schema = {
    "type": "object",
    "required": ["CFDocument", "structuredContent"],
    "properties": {
        "identifier": {"type": "string"},
        "sourcedId": {"type": "string"},
        "CFDocument": ref("CFPckgDocument"),
        "structuredContent": {
            "type": "object",
            "description": "Root items by CFItemType, each with childGroups: its children by "
            "CFItemType, and so on down.",
            "additionalProperties": {"type": "array", "items": {"type": "object"}},
        },
    },
}


CHANGES: Schema = {
    "type": "object",
    "required": ["changes", "next", "more"],
    "properties": {
        "changes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["kind", "identifier", "sourcedId", "operation", "changedAt", "uri"],
                "properties": {
                    "kind": {"type": "string", "enum": [resource.name for resource in RESOURCES]},
                    "identifier": {"type": "string"},
                    "sourcedId": {"type": "string"},
                    "operation": {"type": "string", "enum": ["created", "updated", "deleted"]},
                    "changedAt": {"type": "string", "format": "date-time"},
                    "uri": {"type": "string", "format": "uri"},
                    "documentIdentifier": {"type": "string"},
                },
            },
        },
        "next": {"type": "string", "description": "The cursor for the next request, as since."},
        "more": {"type": "boolean", "description": "Whether there are further changes already."},
    },
}


def all_schemas(*, sourced_ids: bool) -> dict[str, Schema]:
    """Return all schemas that the operations of a profile refer to."""
    response_schemas = model_schemas(sourced_ids=sourced_ids)
    return {
        **response_schemas,
        **(input_schemas(response_schemas) if sourced_ids else {}),
        "imsx_StatusInfo": STATUS_INFO,
        "imsx_CodeMinor": CODE_MINOR,
        "CFPackageUploadResult": UPLOAD_RESULT,
        "CFPackageWithGroups": GROUPS,
        "Changes": CHANGES,
    }

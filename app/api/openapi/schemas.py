"""JSON Schemas of the OpenAPI documents: the standard's classes, and this server's own.

Each function returns them as an API profile serves them.
"""

from __future__ import annotations

from typing import Any, TypeAlias, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from ...case import model
from ...case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS, RESOURCES, SUBJECTS, ResourceType
from ...case.types import IDENTIFIER_SCHEMA
from ...case.vocabulary import ASSOCIATION_TYPES, ASSOCIATION_TYPES_1_0
from ...exceptions import CONFORMANT_UUID_PATTERN, ErrorCode, NotFound, UnprocessableContent
from ..exception_handlers import build_status_info
from ..profiles import NEW_IN_1_1, ApiProfile
from ..rendering.renderer import PACKAGE_LINKS
from . import examples

Schema: TypeAlias = dict[str, Any]

PREFIX = "#/components/schemas/"


def make_ref(name: str) -> Schema:
    """Return a ``$ref`` object that refers to a schema of the OpenAPI document by its name."""
    return {"$ref": f"{PREFIX}{name}"}


class _SchemaGenerator(GenerateJsonSchema):
    """A pydantic schema generator for responses, in which no field is nullable.

    The server leaves out fields that are None, so the schemas allow absence, but not null.
    """

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        """Return the schema of a nullable field without null, because responses omit the field."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  see above
        """Return False, so that fields get no titles, which would only repeat their names."""
        return False


MODELS: list[type[BaseModel]] = [
    value
    for value in vars(model).values()
    if isinstance(value, type)
    and issubclass(value, model.CaseModel)
    and value not in {model.CaseModel, model.Entity}
]
"""All classes of the model, in the order of the binding."""


def build_closed_object_schema(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """Build the JSON Schema of an object with these properties and no others.

    ``properties`` maps names to schemas. All of them are required except those in ``optional``.
    """
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        "additionalProperties": False,
    }


def build_array_schema(schema: Schema, **keywords: Any) -> Schema:
    """Build the schema of a JSON array whose elements match ``schema``.

    Extra keyword arguments, such as ``minItems=1``, become keywords of the array's schema.
    """
    return {"type": "array", "items": schema, **keywords}


def build_model_schemas(profile: ApiProfile) -> dict[str, Schema]:
    """Build the JSON Schemas of all CASE classes in a profile's responses, by name ("CFItem")."""
    _, document = models_json_schema(
        [(class_, "validation") for class_ in MODELS],
        ref_template=PREFIX + "{model}",
        schema_generator=_SchemaGenerator,
    )
    schemas: dict[str, Schema] = document["$defs"]
    for name in ("CFItem", "CFPckgItem"):
        schemas[name]["properties"]["conceptKeywordsURI"] = make_ref("LinkURI")
    # Stored documents from packages may lack it.
    schemas["CFDocument"]["required"].remove("caseVersion")
    if not profile.package_links:
        _remove_package_links(schemas)
    if profile.version == "1.0":
        _downgrade_to_1_0(schemas)
    if profile.sourced_ids:
        _add_sourced_ids(schemas)
    else:
        _describe_identifiers(schemas)
    return schemas


def _remove_package_links(schemas: dict[str, Schema]) -> None:
    """Remove CFDocumentURI and CFPackageURI from the schemas of entities inside a package.

    Changes ``schemas`` in place. Adds CFPckgAssociation, the schema of associations in a package.
    """
    association = schemas["CFAssociation"]
    schemas["CFPckgAssociation"] = {
        **association,
        "title": "CFPckgAssociation",
        "description": "A typed relation of two nodes, inside a package.",
        "properties": {**association["properties"]},
    }
    schemas["CFPackage"]["properties"]["CFAssociations"] = build_array_schema(
        make_ref("CFPckgAssociation")
    )
    for resource, link in PACKAGE_LINKS.items():
        del schemas[_get_package_class_name(resource)]["properties"][link]


def _get_package_class_name(resource: ResourceType) -> str:
    return f"CFPckg{resource.name.removeprefix('CF')}"


def _downgrade_to_1_0(schemas: dict[str, Schema]) -> None:
    """Remove from schemas, in place, all that CASE 1.1 added, for the CASE 1.0 profile.

    ``transforms.downgrade_to_1_0`` does the same with responses.
    """
    types = [name for name in ASSOCIATION_TYPES if name in ASSOCIATION_TYPES_1_0]
    for schema in schemas.values():
        schema["properties"].pop("extensions", None)
    for resource, names in NEW_IN_1_1.items():
        for class_name in (resource.name, _get_package_class_name(resource)):
            for name in names:
                del schemas[class_name]["properties"][name]
    for class_name in (ASSOCIATIONS.name, _get_package_class_name(ASSOCIATIONS)):
        schemas[class_name]["properties"]["associationType"] = {"type": "string", "enum": types}
    del schemas["LinkGenURI"]["properties"]["targetType"]


def _add_sourced_ids(schemas: dict[str, Schema]) -> None:
    schemas["CFPackage"]["properties"]["identifier"] = IDENTIFIER_SCHEMA
    for schema in schemas.values():
        if "identifier" in schema["properties"]:
            sourced_id = {**IDENTIFIER_SCHEMA, "description": "The same as identifier."}
            schema["properties"]["sourcedId"] = sourced_id


UUID_SCHEMA: Schema = {
    "type": "string",
    "anyOf": [
        {"pattern": f"^{CONFORMANT_UUID_PATTERN}$"},
        {**IDENTIFIER_SCHEMA, "description": "If stored without being a UUID: as stored."},
    ],
}
"""The identifiers of the standard profiles: UUIDs by the standard, but returned as stored."""


def _describe_identifiers(schemas: dict[str, Schema]) -> None:
    for name, schema in schemas.items():
        for field, value in schema["properties"].items():
            # Nodes of associations may be outside of CASE.
            if value == IDENTIFIER_SCHEMA and name != "LinkGenURI":
                schema["properties"][field] = UUID_SCHEMA


def build_list_schemas(profile: ApiProfile) -> dict[str, Schema]:
    """Build the schemas of responses with several entities, such as list pages, keyed by name."""
    association = (
        ASSOCIATIONS.name if profile.package_links else _get_package_class_name(ASSOCIATIONS)
    )
    schemas = {
        get_list_schema_name(resource, profile): build_closed_object_schema(
            {
                resource.collection: build_array_schema(make_ref(resource.name)),
                **{name: {"type": "integer"} for name in profile.paging_fields},
            }
        )
        for resource in (DOCUMENTS, ITEMS, SUBJECTS)
    }
    for resource in RESOURCES:
        if resource.with_descendants:
            members = build_array_schema(make_ref(resource.name), minItems=1)
            schemas[f"{resource.name}Set"] = build_closed_object_schema(
                {resource.collection: members}
            )
    schemas["CFAssociationSet"] = build_closed_object_schema(
        {"CFItem": make_ref("CFItem"), "CFAssociations": build_array_schema(make_ref(association))}
    )
    return schemas


def get_list_schema_name(resource: ResourceType, profile: ApiProfile) -> str:
    """Return the name of a list response's schema, such as CFItemPage or CFItemSet.

    It is a page if the profile has paging fields, such as ``total``; otherwise it is a set.
    """
    return f"{resource.name}{'Page' if profile.paging_fields else 'Set'}"


INPUT = "Input"
"""The suffix of the schema of a class in request bodies."""

ALSO_REQUIRED = {"CFDocument": ["caseVersion"], "CFPackage": ["CFItems", "CFAssociations"]}
"""Fields that a request body must contain, although a response or a file may lack them."""


def build_request_schemas(response_schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Build the schemas of request bodies, as a new dict, from the schemas of responses.

    Unlike a response, a request body may contain null for an optional field. Each name gets the
    suffix ``INPUT``.
    """
    schemas = {
        f"{name}{INPUT}": _build_request_schema(name, schema)
        for name, schema in response_schemas.items()
    }
    link = make_ref(f"LinkURI{INPUT}")
    keywords = {
        "anyOf": [link, {"type": "array", "items": link}, {"type": "null"}],
        "description": "One link or an array of links, all of which are stored; responses contain "
        "the last.",
    }
    for name in ("CFItem", "CFPckgItem"):
        schemas[name + INPUT]["properties"]["conceptKeywordsURI"] = keywords
    return schemas


def _build_request_schema(name: str, schema: Schema) -> Schema:
    input_schema: Schema = suffix_references(schema, INPUT)
    input_schema["required"] = [*input_schema.get("required", ()), *ALSO_REQUIRED.get(name, ())]
    for field in input_schema["properties"].keys() - {*input_schema["required"]}:
        value = input_schema["properties"][field]
        input_schema["properties"][field] = {"anyOf": [value, {"type": "null"}]}
    return input_schema


def suffix_references(node: Any, suffix: str) -> Any:
    """Return a copy of an OpenAPI fragment with ``suffix`` appended to every ``$ref``."""
    if isinstance(node, list):
        return [suffix_references(part, suffix) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"{part}{suffix}" if name == "$ref" else suffix_references(part, suffix)
        for name, part in node.items()
    }


def build_error_schemas(profile: ApiProfile) -> dict[str, Schema]:
    """Build the schemas of error responses, such as ``imsx_StatusInfo``, keyed by name."""
    codes = sorted({profile.get_minor_code(code) for code in get_args(ErrorCode)})
    properties: Schema = {
        "imsx_codeMajor": {"type": "string", "enum": ["failure"]},
        "imsx_severity": {"type": "string", "enum": ["error"]},
        "imsx_description": {"type": "string"},
        **dict.fromkeys(profile.code_minor_names, make_ref("imsx_CodeMinor")),
    }
    example: NotFound | UnprocessableContent = NotFound("CFItem", examples.ITEM_ID)
    if profile.error_details:
        problem = build_closed_object_schema(
            {"path": {"type": "string"}, "message": {"type": "string"}}
        )
        properties["imsx_error_details"] = build_array_schema(problem)
        example = UnprocessableContent(
            "the CFItem is not valid: item.fullStatement: required",
            problems=[{"path": "item.fullStatement", "message": "required"}],
        )
    field: Schema = {
        "imsx_codeMinorFieldName": {"type": "string"},
        "imsx_codeMinorFieldValue": {"type": "string", "enum": codes},
    }
    return {
        "imsx_StatusInfo": {
            "description": "An error.",
            **build_closed_object_schema(properties),
            "example": build_status_info(profile, example),
        },
        "imsx_CodeMinor": build_closed_object_schema(
            {"imsx_codeMinorField": build_array_schema(make_ref("imsx_CodeMinorField"), minItems=1)}
        ),
        "imsx_CodeMinorField": build_closed_object_schema(field),
    }


def _build_integers_schema(*names: str) -> Schema:
    return build_closed_object_schema({name: {"type": "integer"} for name in names})


_VALUE = {"description": "The value of the first example, which may be any JSON value."}

REPAIR = build_closed_object_schema(
    {
        "kind": {"type": "string"},
        "explanation": {"type": "string"},
        "count": {"type": "integer"},
        "path": {"type": "string", "description": "The path of the first example."},
        "before": _VALUE,
        "after": _VALUE,
    }
)

UPLOAD_RESULT = build_closed_object_schema(
    {
        "success": {"type": "boolean"},
        "message": {"type": "string"},
        "result": build_closed_object_schema(
            {
                "documentId": {"type": "string"},
                "stats": _build_integers_schema("documents", "items", "associations"),
                "changes": {
                    **_build_integers_schema("created", "updated", "unchanged", "deleted"),
                    "description": "How many entities of the package were created, updated or "
                    "unchanged, and how many of the framework were deleted because the package "
                    "does not contain them.",
                },
                "success": {"type": "boolean"},
                "repairs": build_array_schema(REPAIR),
            },
            optional=("repairs",),
        ),
    }
)

CHANGES = build_closed_object_schema(
    {
        "changes": build_array_schema(
            build_closed_object_schema(
                {
                    "kind": {"type": "string", "enum": [resource.name for resource in RESOURCES]},
                    "identifier": {"type": "string"},
                    "sourcedId": {"type": "string"},
                    "operation": {"type": "string", "enum": ["created", "updated", "deleted"]},
                    "changedAt": {"type": "string", "format": "date-time"},
                    "uri": {"type": "string", "format": "uri"},
                    "documentIdentifier": {"type": "string"},
                },
                optional=("documentIdentifier",),
            )
        ),
        "next": {"type": "string", "description": "The cursor for the next request, as since."},
        "more": {"type": "boolean", "description": "Whether there are further changes already."},
    }
)


def build_tree_schemas(response_schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Build the schemas of the package tree, as a dict by schema name.

    ``response_schemas`` are the schemas of CASE classes, the result of ``build_model_schemas``.
    """
    item = response_schemas["CFPckgItem"]
    groups = {
        "type": "object",
        "additionalProperties": build_array_schema(make_ref("CFPckgItemWithGroups")),
    }
    return {
        "CFPackageWithGroups": build_closed_object_schema(
            {
                "identifier": IDENTIFIER_SCHEMA,
                "sourcedId": IDENTIFIER_SCHEMA,
                "CFDocument": make_ref("CFPckgDocument"),
                "structuredContent": {
                    **groups,
                    "description": "Root items by CFItemType, each with childGroups: its children "
                    "by CFItemType, and so on down.",
                },
            }
        ),
        "CFPckgItemWithGroups": {
            **item,
            "title": "CFPckgItemWithGroups",
            "properties": {**item["properties"], "childGroups": groups},
            "required": [*item["required"], "childGroups"],
        },
    }


EXTENSIONS = {"additionalProperties": True, "type": "object"}


BINDING = "DType"
"""The suffix of all names of schemas in the standard's own OpenAPI document."""


def rename_to_standard_names(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Return a dict of the schemas by the standard's names: CFItem becomes CFItemDType.

    The names are those of the standard's own OpenAPI document. As there, the ``extensions`` of each
    class become a separate schema. ``schemas`` is not changed.
    """
    schemas_by_name: dict[str, Schema] = {}
    for name, schema in schemas.items():
        properties = {**schema.get("properties", {})}
        if extensions := properties.get("extensions"):
            extension = f"{name.replace('CFPckg', 'CF')}Extension"
            schemas_by_name[extension + BINDING] = EXTENSIONS
            is_list = extensions["type"] == "array"
            properties["extensions"] = (
                build_array_schema(make_ref(extension)) if is_list else make_ref(extension)
            )
        schemas_by_name[name + BINDING] = {
            **schema,
            "title": name + BINDING,
            "properties": properties,
        }
    return schemas_by_name


def build_all_schemas(profile: ApiProfile) -> dict[str, Schema]:
    """Build all schemas that the operations of a profile may reference, keyed by name."""
    response_schemas = build_model_schemas(profile)
    schemas = {**response_schemas, **build_list_schemas(profile), **build_error_schemas(profile)}
    if profile.writes:
        schemas |= build_request_schemas(response_schemas) | build_tree_schemas(response_schemas)
        schemas |= {"CFPackageUploadResult": UPLOAD_RESULT, "Changes": CHANGES}
    return schemas

"""Descriptions of operations in OpenAPI: responses, request bodies and query parameters.

Endpoints read and write raw JSON, so their decorators describe what FastAPI cannot see in their
signatures. Entities and packages have the classes of ``case.model`` as response models. Sets and
pages have only schemas, because no code needs a class for them: responses join stored JSON. What
differs between the API profiles is written as a reference to a profile component and replaced by
``resolve_profile_components`` when the document of a profile is generated.
"""

from __future__ import annotations

from typing import Any

from fastapi import Response

from ...case.resources import DOCUMENTS, ITEMS, SUBJECTS, ResourceType
from ...query.params import PageLimits
from ..profiles import ApiProfile
from .schemas import INPUT, Schema, build_closed_object_schema, get_list_schema_name, make_ref

PROFILE_PREFIX = "#/profile/"
"""References that begin with this name a component of ``build_profile_components``."""

ERRORS = {
    400: "Malformed: invalid JSON, contradicting identifiers, or an invalid query parameter",
    401: "No valid access token",
    403: "The token lacks the scope of this operation",
    404: "No entity has this identifier",
    409: "Conflict with stored entities, which the description names",
    410: "The cursor belongs to another history of the database: start again without since",
    413: "The body is larger than the limit of this server",
    422: "Invalid: imsx_error_details lists the problems with their paths",
    429: "Too many requests without a token (or a fault in test mode): retry after Retry-After",
    500: "An error of this server, which its log describes under the X-Request-ID",
    503: "The database is unavailable: retry after the seconds in Retry-After",
}


def describe_json_content(schema: Schema, example: Any = None) -> Schema:
    """Build the OpenAPI ``content`` of a JSON body, as a dict by media type.

    It contains ``schema`` and, unless it is None, ``example``.
    """
    content: Schema = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"application/json": content}


def describe_success(
    status: int, description: str, class_name: str | None = None
) -> dict[int | str, Schema]:
    """Describe a success response, as a dict for the ``responses`` of a route decorator.

    Its single key is ``status``. ``class_name`` names the schema of the JSON body; None means that
    there is no body.
    """
    response: Schema = {"description": description}
    if class_name is not None:
        response["content"] = describe_json_content(make_ref(class_name))
    return {status: response}


def describe_error_responses(*statuses: int) -> dict[int | str, Schema]:
    """Describe the error responses of an operation, as a dict for a decorator's ``responses``.

    Its keys are the given ``statuses``, those of every operation (401, 403, 429, 500 and 503), and
    "default".
    """
    content = describe_json_content(make_ref("imsx_StatusInfo"))
    responses: dict[int | str, Schema] = {
        status: {"description": ERRORS[status], "content": content}
        for status in sorted({401, 403, 429, 500, 503, *statuses})
    }
    # The default also keeps FastAPI from describing its own validation error, which is never sent.
    return responses | {"default": {"description": "Any other error", "content": content}}


def describe_get(resource: ResourceType) -> dict[str, Any]:
    """Describe GET of one entity of a CASE class, as keyword arguments of ``router.get``.

    The response of a class with a hierarchy, such as CFConcepts, also has the entity's descendants.
    """
    name = resource.name
    options: dict[str, Any] = {
        "operation_id": f"get{name}",
        "summary": f"Get a {name}",
        "response_model": resource.schema,
        "response_description": f"The {name}.",
        "responses": describe_error_responses(400, 404),
        "openapi_extra": describe_query_parameters(*ENTITY_PARAMETERS),
    }
    if resource.with_descendants:
        content = f"The {name}, then those whose hierarchyCode continues its own."
        options |= {
            "summary": f"Get a {name} and those below it in the hierarchy",
            "response_model": None,
            "responses": describe_success(200, content, f"{name}Set")
            | describe_error_responses(400, 404),
        }
    return options


def describe_list(resource: ResourceType) -> dict[str, Any]:
    """Describe the list of a CASE class, as keyword arguments of ``router.get``."""
    return {
        "operation_id": f"getAll{resource.collection}",
        "summary": f"List {resource.collection}",
        "responses": describe_list_response(resource) | describe_error_responses(400),
        "openapi_extra": describe_list_parameters(resource),
    }


def describe_put(
    resource: ResourceType, example: Any, *, wrapper: str | None = None
) -> dict[str, Any]:
    """Describe PUT of one entity of a CASE class, as keyword arguments of ``router.put``.

    A PUT replaces the whole entity, is idempotent, and returns 201 without a body, on creation and
    on replacement alike (guide, "All PUT endpoints are idempotent upserts"). ``example`` and
    ``wrapper`` are those of ``describe_request_body``.
    """
    return {
        "operation_id": f"put{resource.name}",
        "summary": f"Create or replace a {resource.name}",
        "status_code": 201,
        "response_class": Response,  # has no media type, so that OpenAPI describes no content
        "responses": describe_success(201, "Stored; no body.")
        | describe_error_responses(400, 409, 413, 422),
        "openapi_extra": describe_request_body(resource.name, example, wrapper=wrapper),
    }


def describe_request_body(
    class_name: str, example: Any, *, wrapper: str | None = None
) -> dict[str, Any]:
    """Describe a JSON request body, for the ``openapi_extra`` argument of a route decorator.

    ``class_name`` names the schema of the body; ``example`` is a JSON value that matches it. With
    ``wrapper``, such as "item", the body is an object with this single member, which contains the
    entity: ``{"item": {…}}``.
    """
    schema = make_ref(class_name + INPUT)
    if wrapper:
        schema, example = build_closed_object_schema({wrapper: schema}), {wrapper: example}
    return {"requestBody": {"required": True, "content": describe_json_content(schema, example)}}


def describe_list_response(resource: ResourceType) -> dict[int | str, Schema]:
    """Describe the response of a list for OpenAPI, as a dict with the single key 200.

    Its value describes one page of entities, and the headers. ``resolve_profile_components`` later
    inserts the schema of the page, because paging fields such as ``total`` differ between the API
    profiles.
    """
    headers = {
        "X-Total-Count": _build_header("The total number of entities.", type="integer"),
        "Link": _build_header(
            "The URLs of other pages: first, prev, next and last.", type="string"
        ),
    }
    content = describe_json_content(_make_profile_ref(f"{resource.collection}.page"))
    return {200: {"description": "One page of the list.", "headers": headers, "content": content}}


def _build_header(description: str, **schema: Any) -> Schema:
    return {"description": description, "schema": schema}


def describe_query_parameters(*names: str) -> dict[str, Any]:
    """Describe the query parameters ``names``, for the ``openapi_extra`` of a route decorator.

    Returns ``{"parameters": [...]}`` with a reference to a profile's component for each name.
    """
    return {"parameters": [_make_profile_ref(name) for name in names]}


def describe_list_parameters(resource: ResourceType) -> dict[str, Any]:
    """Describe the query parameters of a list, for ``openapi_extra`` (CASE binding, section 3).

    Returns ``{"parameters": [...]}``. The fields allowed in ``sort`` and ``filter`` are those of
    ``resource``. Only the list of items has ``search``.
    """
    sort, filter_ = f"{resource.collection}.sort", f"{resource.collection}.filter"
    search = ("search",) if resource is ITEMS else ()
    return describe_query_parameters(
        "limit", "offset", sort, "orderBy", filter_, *ENTITY_PARAMETERS, *search
    )


def _make_profile_ref(name: str) -> Schema:
    return {"$ref": PROFILE_PREFIX + name}


ENTITY_PARAMETERS = ("fields", "extensions")

OPERATORS_OF_FILTERS = {
    True: "combined by AND, OR and parentheses; @ means is one of a list",
    False: "at most two, combined by AND or OR",
}

FILTER_EXAMPLES = {
    DOCUMENTS: "title~'math' AND creator='My Learning App'",
    ITEMS: "fullStatement~'product' AND CFItemType='Learning Standard'",
    SUBJECTS: "title~'math'",
}
"""A filter of each list; each finds something in the examples of the writes."""

LINK_EXAMPLES = {
    DOCUMENTS: "CFPackageURI.identifier",
    ITEMS: "CFDocumentURI.identifier",
    SUBJECTS: None,
}
"""A part of a link of each class that has one."""


def _build_parameter(name: str, description: str, *, example: Any = None, **schema: Any) -> Schema:
    parameter = {"name": name, "in": "query", "description": description, "schema": schema}
    return parameter if example is None else parameter | {"example": example}


COMMON_PARAMETERS = (
    _build_parameter(
        "fields",
        "Names of the fields to return, separated by commas or repeated.",
        type="array",
        items={"type": "string"},
    ),
    _build_parameter(
        "offset",
        "The number of entities to skip.",
        type="integer",
        format="int32",
        minimum=0,
        default=0,
    ),
    _build_parameter(
        "orderBy", "The direction of the sort.", type="string", enum=["asc", "desc"], default="asc"
    ),
    _build_parameter(
        "search",
        "Words to find in code, statement and keywords, each as the beginning of a word. The "
        "best match comes first unless sort is given; an item with this code is the best. An "
        "extension of this server, which can be combined with filter.",
        example="3.OA.A.1",
        type="string",
    ),
    _build_parameter(
        "repair",
        "Whether to repair an invalid package where only one correction is possible; the "
        "result lists each kind of repair under repairs.",
        type="boolean",
        default=False,
    ),
)
"""The query parameters that do not differ between profiles."""


def build_profile_components(profile: ApiProfile) -> dict[str, Schema]:
    """Build the OpenAPI parameters and schemas of one API profile, as a dict by component name.

    Operations refer to them by these names, such as ``limit`` or ``CFItems.sort``.
    """
    components = {parameter["name"]: parameter for parameter in COMMON_PARAMETERS}
    components["limit"] = _build_parameter(
        "limit",
        "The maximum number of entities to return.",
        type="integer",
        format="int32",
        minimum=1,
        maximum=profile.limits.maximum,
        default=profile.limits.default,
    )
    # CASE 1.0 has no extensions; other profiles show them always or on request.
    if not profile.extensions and profile.version != "1.0":
        components["extensions"] = _build_parameter(
            "extensions", "Whether the response includes extensions.", type="boolean", default=False
        )
    for resource in FILTER_EXAMPLES:
        schema = make_ref(get_list_schema_name(resource, profile))
        components[f"{resource.collection}.page"] = schema
        components[f"{resource.collection}.sort"] = _build_sort_parameter(resource)
        components[f"{resource.collection}.filter"] = _build_filter_parameter(resource, profile)
    return components


def _build_sort_parameter(resource: ResourceType) -> Schema:
    field, link = "fullStatement" if resource is ITEMS else "title", LINK_EXAMPLES[resource]
    fields = f"{field} or {link}" if link else field
    return _build_parameter("sort", f"The field to sort by, such as {fields}.", type="string")


def _build_filter_parameter(resource: ResourceType, profile: ApiProfile) -> Schema:
    link = LINK_EXAMPLES[resource]
    links = f"fields of links are named by a path ({link}); " if link else ""
    return _build_parameter(
        "filter",
        "field='value', with = != > >= < <= or ~ (contains); "
        f"{OPERATORS_OF_FILTERS[profile.grammar.is_extended]}. "
        "Values are compared as this list returns them. "
        f"Comparison ignores case; a quote in a value is doubled; {links}an array "
        "equals its members joined by commas and contains (~) what any member contains.",
        example=FILTER_EXAMPLES[resource],
        type="string",
    )


def describe_feed_parameters(limits: PageLimits) -> dict[str, Any]:
    """Describe the query parameters of the change feed, for FastAPI's ``openapi_extra``.

    ``limits`` has the default and the maximum of ``limit``. Returns ``{"parameters": [...]}``.
    """
    description = "The value of next in the previous response; empty for the first change."
    limit = {"minimum": 1, "maximum": limits.maximum, "default": limits.default}
    return {
        "parameters": [
            _build_parameter("since", description, type="string"),
            _build_parameter("limit", "The maximum number of changes.", type="integer", **limit),
        ]
    }


def resolve_profile_components(node: Any, components: dict[str, Schema]) -> Any:
    """Return a copy of an OpenAPI fragment with references replaced by a profile's components.

    ``node`` is the fragment, ``components`` the result of ``build_profile_components``. A reference
    in an array is dropped if ``components`` does not contain its target: the profile then lacks
    this parameter.
    """
    if isinstance(node, list):
        elements = [resolve_profile_components(element, components) for element in node]
        return [element for element in elements if element is not None]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(PROFILE_PREFIX):
        return components.get(reference.removeprefix(PROFILE_PREFIX))
    return {name: resolve_profile_components(value, components) for name, value in node.items()}

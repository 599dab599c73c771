"""CFDocuments: one document, the list of documents, and PUT of a document."""

from fastapi import APIRouter, Request, Response

from ...case.model import CFDocument, CFPckgDocument, LinkURI
from ...case.resources import DOCUMENTS
from ...case.validation.parsing import ParsedBody
from ...case.validation.problems import REQUIRED
from ...db.write import entities as store
from ...exceptions import UnprocessableContent
from ..dependencies import DatabaseDep, SourcedId, WriteAccess
from ..echoed_values import EchoedValuesDep
from ..openapi import examples, operations
from ..request_body import RawBody
from ..routing import CompiledRoute
from . import puts
from .entities import add_entity_route, add_list_route

router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)
vendor_router = APIRouter(prefix="/CFDocuments", route_class=CompiledRoute)

WRAPPERS = ("document", "CFDocument")


class _LenientDocumentBody(CFPckgDocument):
    """The body of a PUT that replaces a document stored without ``caseVersion``.

    Such documents come from packages. ``caseVersion`` may be omitted here, so that a client can
    send back what it read.
    """

    CFPackageURI: LinkURI


add_list_route(router, DOCUMENTS, description="List documents.")
add_entity_route(router, DOCUMENTS, description="Return one document.")


@vendor_router.put(
    "/{sourcedId}",
    operation_id="putCFDocument",
    summary="Create or replace a CFDocument",
    openapi_extra=operations.describe_request_body("CFDocument", examples.DOCUMENT),
    **puts.OPTIONS,
)
async def put_document(
    _caller: WriteAccess,
    sourced_id: SourcedId,
    request: Request,
    db: DatabaseDep,
    raw_body: RawBody,
    echoed: EchoedValuesDep,
) -> Response:
    """Create or replace a document; the response is 201 without a body in both cases.

    `caseVersion` may be omitted if the stored document lacks it.
    """
    body: ParsedBody[CFPckgDocument]
    try:
        body = await puts.parse_entity(request, sourced_id, raw_body, CFDocument, WRAPPERS)
    except UnprocessableContent as error:
        if not _lacks_only_case_version(error):
            raise
        if not await store.document_lacks_case_version(db, sourced_id):
            raise
        body = await puts.parse_entity(
            request, sourced_id, raw_body, _LenientDocumentBody, WRAPPERS
        )
    await store.put_document(db, body.entity, path_prefix=body.path_prefix, echoed=echoed)
    return Response(status_code=puts.CREATED)


def _lacks_only_case_version(error: UnprocessableContent) -> bool:
    problems = [
        (problem["path"].rpartition(".")[2], problem["message"]) for problem in error.problems
    ]
    return problems == [("caseVersion", REQUIRED)]

"""A Hypothesis state machine that compares responses of the API with the reference model.

It uses few identifiers, because most errors occur when an entity is written again, in another
framework, or after it was deleted.
"""

import asyncio
from collections import Counter
from typing import Any

from httpx import Response
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import factories
from support.applications import authorize, create_client
from support.databases import create_database, open_connection

from case_server.db.postgres import alembic_runner
from case_server.db.schema import tables
from case_server.main import create_app
from case_server.settings import Settings
from stress.model import KINDS, Association, Document, Item, ReferenceModel, UploadedPackage
from stress.verified_reads import ReadVerifier

PREFIX = "/case/1.1"
DOCUMENTS, PACKAGES = ("d1", "d2", "d3"), ("p1", "p2", "p3", "d1", "d3")
ITEMS, ASSOCIATIONS = ("i1", "i2", "i3", "i4"), ("a1", "a2", "a3", "a4")
TYPES = ("isChildOf", "precedes")

documents, packages = st.sampled_from(DOCUMENTS), st.sampled_from(PACKAGES)
items, associations = st.sampled_from(ITEMS), st.sampled_from(ASSOCIATIONS)
nodes = st.sampled_from((*ITEMS, *DOCUMENTS))
words = st.sampled_from(("alpha", "beta"))


def draw_link_lists(prefix: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Return a Hypothesis strategy that draws up to two identifiers of linked entities.

    If ``prefix`` is "s", it draws from s0, s1 and s2.
    """
    names = st.sampled_from([f"{prefix}{number}" for number in range(3)])
    return st.lists(names, max_size=2, unique=True).map(tuple)


def optional_name(*names: str) -> st.SearchStrategy[str | None]:
    """Return a Hypothesis strategy that draws one of the given names, or None."""
    return st.sampled_from((None, *names))


an_item = st.builds(
    Item,
    statement=words,
    document=documents,
    subjects=draw_link_lists("s"),
    keywords=draw_link_lists("c"),
    type=optional_name("t1", "t2"),
)
an_association = st.builds(
    Association,
    origin=nodes,
    destination=nodes,
    type=st.sampled_from(TYPES),
    home=optional_name(*DOCUMENTS),
    grouping=optional_name("g1"),
)
an_upload = st.builds(
    UploadedPackage,
    document=documents,
    title=words,
    package=packages,
    items=st.dictionaries(items, an_item, max_size=3),
    associations=st.dictionaries(associations, an_association, max_size=3).filter(
        lambda by_id: len({association.unique_key for association in by_id.values()}) == len(by_id)
    ),
    definitions=st.dictionaries(
        st.tuples(st.just("CFSubject"), st.sampled_from(("s0", "s1")))
        | st.tuples(st.just("CFItemType"), st.sampled_from(("t1", "t2"))),
        words,
        max_size=2,
    ),
)


class InProcessServer:
    """Runs the application with its own database in this process, for synchronous callers."""

    def __init__(self, server_url: str, name: str) -> None:
        self.loop = asyncio.Runner()
        self.responses: Counter[str] = Counter()
        self.url = self.run_coroutine(create_database(server_url, name))
        alembic_runner.migrate(self.url)
        self.app = create_app(Settings(database_url=self.url, public_url="http://case.test"))
        self.lifespan = self.app.router.lifespan_context(self.app)
        self.run_coroutine(self.lifespan.__aenter__())
        self.http = create_client(self.app)
        self.run_coroutine(authorize(self.http, ("local-client", "local-secret")))

    def run_coroutine(self, coroutine: Any) -> Any:
        """Run a coroutine in the application's event loop and return its result."""
        return self.loop.run(coroutine)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        """Send a request to the API below ``PREFIX`` and count the response by its status."""
        request = self.http.request(method, PREFIX + path, json=body, headers=headers)
        response: Response = self.run_coroutine(request)
        self.responses[f"{method} {response.status_code}"] += 1
        return response

    def delete_all_data(self) -> None:
        """Delete all entities, so that the next test case starts with no data."""
        persistent = {"signing_keys", "feed_history"}
        names = ", ".join(name for name in tables.metadata.tables if name not in persistent)

        async def truncate() -> None:
            async with open_connection(self.url) as connection:
                await connection.execute(f"TRUNCATE {names}")
                # A new history invalidates the ETags of the previous one.
                reset = "UPDATE feed_history SET identifier = gen_random_uuid()::text"
                await connection.execute(reset)

        self.run_coroutine(truncate())

    def close(self) -> None:
        """Shut the application down and close its event loop."""
        self.run_coroutine(self.http.aclose())
        self.run_coroutine(self.lifespan.__aexit__(None, None, None))
        self.loop.close()


class ApiStateMachine(RuleBasedStateMachine):
    """Sends random writes to the API and a reference model; both must then return equal reads."""

    server: InProcessServer

    def __init__(self) -> None:
        super().__init__()
        self.model, self.steps = ReferenceModel(), 0
        self.server.delete_all_data()
        self.verifier = ReadVerifier(self.server.send, self.model)

    def _make_unique_title(self) -> str:
        """Return a new title for each write, so that a definition shows which write created it."""
        self.steps += 1
        return f"title {self.steps}"

    def _expect(self, expected: int, method: str, path: str, body: Any) -> None:
        response = self.server.send(method, path, body)
        assert response.status_code == expected, f"{method} {path} {body}: {response.text}"
        self.verifier.record_write(changed=expected < 400)

    @initialize()
    def begin(self) -> None:
        for number in "12":
            self.put_document(f"d{number}", f"p{number}", "begun", (), None)

    @rule(
        identifier=documents,
        package=packages,
        title=words,
        subjects=draw_link_lists("s"),
        license_id=optional_name("l1"),
    )
    def put_document(
        self, identifier: str, package: str, title: str, subjects: Any, license_id: str | None
    ) -> None:
        link, document = self._make_unique_title(), Document(title, package, subjects, license_id)
        body = factories.document(identifier, title=title, CFPackageURI=factories.link(package))
        _add(body, "subjectURI", [factories.link(subject, link) for subject in subjects])
        _add(body, "licenseURI", license_id and factories.link(license_id, link))
        expected = self.model.put_document(identifier, document, link)
        self._expect(expected, "PUT", f"/CFDocuments/{identifier}", body)

    @rule(identifier=items, item=an_item)
    def put_item(self, identifier: str, item: Item) -> None:
        link = self._make_unique_title()
        body = {**_item(identifier, item, link), "CFDocumentURI": factories.link(item.document)}
        expected = self.model.put_item(identifier, item, link)
        self._expect(expected, "PUT", f"/CFItems/{identifier}", {"item": body})

    @rule(identifier=st.sampled_from(("t1", "t2")))
    def put_item_type(self, identifier: str) -> None:
        title = self._make_unique_title()
        body = factories.item_type(identifier, title=title)
        expected = self.model.put_item_type(identifier, title)
        self._expect(expected, "PUT", f"/CFItemTypes/{identifier}", body)

    @rule(identifier=associations, association=an_association)
    def put_association(self, identifier: str, association: Association) -> None:
        link = self._make_unique_title()
        body = _association(identifier, association, link)
        _add(body, "CFDocumentURI", association.home and factories.link(association.home))
        expected = self.model.put_association(identifier, association, link)
        self._expect(expected, "PUT", f"/CFItemAssociations/{identifier}", body)

    @rule(identifier=associations)
    def delete_association(self, identifier: str) -> None:
        expected = self.model.delete_association(identifier)
        self._expect(expected, "DELETE", f"/CFItemAssociations/{identifier}", None)

    @rule(package=an_upload, replace=st.booleans())
    def upload(self, package: UploadedPackage, replace: bool) -> None:
        link = self._make_unique_title()
        for item in package.items.values():
            item.document = package.document
        document = factories.document(
            package.document, title=package.title, CFPackageURI=factories.link(package.package)
        )
        body = {
            "CFDocument": document,
            "CFItems": [_item(name, item, link) for name, item in package.items.items()],
            "CFAssociations": [
                _association(name, association, link)
                for name, association in package.associations.items()
            ],
            "CFDefinitions": _definitions(package),
        }
        expected = self.model.upload(package, replace=replace, title=link)
        path = f"/CFPackages/{package.document}" if replace else "/CFPackages"
        self._expect(expected, "PUT" if replace else "POST", path, body)

    @invariant()
    def reads_agree_with_model(self) -> None:
        self.verifier.compare_with_model(DOCUMENTS, ITEMS, ASSOCIATIONS)


def _add(body: factories.Body, name: str, value: Any) -> None:
    if value:
        body[name] = value


def _item(identifier: str, item: Item, link: str) -> factories.Body:
    body = factories.packed_item(identifier, fullStatement=item.statement)
    _add(body, "subjectURI", [factories.link(target, link) for target in item.subjects])
    _add(body, "conceptKeywordsURI", [factories.link(target, link) for target in item.keywords])
    _add(body, "CFItemTypeURI", item.type and factories.link(item.type, link))
    return body


def _association(identifier: str, association: Association, link: str) -> factories.Body:
    ends = (association.origin, association.destination)
    body = factories.association(*ends, identifier, associationType=association.type)
    _add(
        body,
        "CFAssociationGroupingURI",
        association.grouping and factories.link(association.grouping, link),
    )
    return body


def _definitions(package: UploadedPackage) -> dict[str, Any]:
    definitions_by_kind: dict[str, Any] = {f"{kind}s": [] for kind in KINDS}
    for (kind, identifier), title in package.definitions.items():
        definition = factories.subject("S") if kind == "CFSubject" else factories.item_type()
        definitions_by_kind[f"{kind}s"].append(
            definition | {"identifier": identifier, "title": title}
        )
    return definitions_by_kind

"""The ``check`` decorator, which registers the check of one documented behaviour."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import httpx

from .. import DOCUMENTATION_URL
from .client import ServerUnderTest
from .responses import CheckFailed, CheckSkipped

Outcome: TypeAlias = Literal["passed", "failed", "skipped"]
CheckFunction = TypeVar("CheckFunction", bound=Callable[[ServerUnderTest], str])

EXTENSIONS = "extensions"
GROUPS = ("tokens", "lists", "reading", "errors", "packages", "writing", EXTENSIONS)
"""Groups of checks in the order of runs and reports; only this project documents the last one."""

PLATFORM, SDK = ("platform",), ("sdk",)
STANDARD = ("standard", "standard-1.0")
VENDOR = (*PLATFORM, *SDK)
ALL = (*VENDOR, *STANDARD)

SILENT = f"{DOCUMENTATION_URL}/behaviour.html"
"""The source of behaviour that only this project has decided."""


@dataclass(frozen=True)
class Check:
    """A documented behaviour and the function that tests it.

    ``run`` returns a description of the observed behaviour on success; it raises ``CheckFailed``
    on a mismatch and ``CheckSkipped`` if the server lacks the data to test it.
    """

    id: str
    group: str
    source: str
    """The document that defines the behaviour, and the section."""
    run: Callable[[ServerUnderTest], str]
    profiles: tuple[str, ...]
    """The API profiles whose documents define the behaviour."""
    extension_profiles: tuple[str, ...]
    """The profiles for which only this project defines it."""
    writes: bool

    @property
    def behaviour(self) -> str:
        """Return the expected behaviour, as the docstring of the check function states it.

        ``Check that a list is sorted.`` becomes ``A list is sorted.``
        """
        behaviour = (inspect.getdoc(self.run) or "").split("\n")[0].removeprefix("Check that ")
        return behaviour[:1].upper() + behaviour[1:]

    def get_group_for_profile(self, profile: str) -> str | None:
        """Return this check's group in reports for an API profile, or None if it does not apply.

        The group is "extensions" if the documents about the profile do not define the behaviour and
        only this project does.
        """
        if profile in self.profiles:
            return self.group
        return EXTENSIONS if profile in self.extension_profiles else None


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check on one server, with the observation to report."""

    check: Check
    group: str
    outcome: Outcome
    observed: str
    """The observed behaviour, or the reason why the check was skipped."""


registry: list[Check] = []


def check(  # noqa: PLR0913  the columns of a table of checks
    group: str,
    id_: str,
    source: str,
    *,
    profiles: tuple[str, ...] = ALL,
    extension_profiles: tuple[str, ...] = (),
    writes: bool = False,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register the decorated function as a check; its docstring states the behaviour.

    ``id_`` is the ID of the check, ``group`` its section in reports, and ``source`` the document
    that defines the behaviour. ``profiles`` lists the API profiles whose documents define the
    behaviour; ``extension_profiles`` lists the profiles for which only this project defines it. If
    ``writes`` is true, the check runs only with ``--write``.
    """

    def register(function: CheckFunction) -> CheckFunction:
        registry.append(Check(id_, group, source, function, profiles, extension_profiles, writes))
        return function

    return register


def run_check(check: Check, group: str, server: ServerUnderTest) -> CheckResult:
    """Run a check on a server and return the result, with ``group`` as its section in reports.

    An unexpected response is a failed check, not an exception.
    """
    try:
        return CheckResult(check, group, "passed", check.run(server))
    except CheckSkipped as reason:
        return CheckResult(check, group, "skipped", str(reason))
    except CheckFailed as failure:
        return CheckResult(check, group, "failed", str(failure))
    except httpx.HTTPError as error:
        return CheckResult(check, group, "failed", f"no response: {error or type(error).__name__}")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # Checks read bodies without validating every level, so an unexpected type ends up here.
        message = f"unexpected structure of the response ({type(error).__name__}: {error})"
        return CheckResult(check, group, "failed", message)

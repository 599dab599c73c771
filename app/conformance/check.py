"""A check: one documented behaviour, and the function that looks whether it holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import httpx

from .client import CheckFailed, ServerUnderTest, Skip

GROUPS = ("tokens", "lists", "reading", "errors", "packages", "writing", "extensions")
"""In the order in which they are run and told. The last is what only this project says."""

EXTENSIONS = "extensions"

Outcome: TypeAlias = Literal["pass", "fail", "skip"]

PLATFORM, SDK = ("platform",), ("sdk",)
STANDARD = ("standard", "standard-1.0")
VENDOR = (*PLATFORM, *SDK)
ALL = (*VENDOR, *STANDARD)


@dataclass(frozen=True)
class Check:
    """One behaviour. The first paragraph of its function's docstring says what it is.

    The function returns what it saw when the behaviour holds, raises ``Differs`` with what it saw
    when it does not, and ``Skip`` when the server has nothing to show it with.
    """

    id: str
    group: str
    source: str
    """The document that says so, and where in it."""
    run: Callable[[ServerUnderTest], str]
    documented: tuple[str, ...] = ALL
    """The profiles of which the documents say it."""
    extension_of: tuple[str, ...] = ()
    """The profiles on which only this project says it."""
    writes: bool = False

    @property
    def behaviour(self) -> str:
        """What is to hold, in a sentence or two."""
        told = inspect.getdoc(self.run) or ""
        return " ".join(told.split("\n\n")[0].split())

    def group_on(self, profile: str) -> str | None:
        """The group it belongs to on a profile; nothing when it says nothing of it."""
        if profile in self.documented:
            return self.group
        return EXTENSIONS if profile in self.extension_of else None


@dataclass(frozen=True)
class Result:
    """What became of a check."""

    check: Check
    group: str
    outcome: Outcome
    observed: str


def run_check(check: Check, group: str, server: ServerUnderTest) -> Result:
    """Run one check; whatever the server answers, this is an outcome."""
    try:
        return Result(check, group, "pass", check.run(server))
    except Skip as reason:
        return Result(check, group, "skip", str(reason))
    except CheckFailed as seen:
        return Result(check, group, "fail", str(seen))
    except httpx.HTTPError as error:
        return Result(check, group, "fail", f"no response: {error or type(error).__name__}")
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # A body of a shape that no document knows ends wherever it is first not what it should be.
        told = f"the response has a shape that cannot be read ({type(error).__name__}: {error})"
        return Result(check, group, "fail", told)

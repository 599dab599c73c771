"""One answer for all who ask the same: a question that begins after they came is theirs, too.

What is asked of the store while the same is under way need not be asked once for each: all who come
meanwhile share the next question. It begins after the last of them came, so that it tells none of
them less than one of his own would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


MAX_WAIT_SECONDS = 0.2
"""For how many seconds a question under way is waited for; one that hangs holds up nobody else."""


class SingleFlight(Generic[Key, Result]):
    """Asks about names, as a rule one question about each at a time."""

    def __init__(self, ask: Callable[[Key], Awaitable[Result]]) -> None:
        self._ask = ask
        self._asking: dict[Key, asyncio.Future[None]] = {}
        """Done when the question is that began last."""
        self._next: dict[Key, asyncio.Task[Result]] = {}
        """The question after it, which has not begun."""

    async def do(self, name: Key) -> Result:
        """What is so at a moment after this was called. Raises what the question raises."""
        if name in self._next:
            return await asyncio.shield(self._next[name])
        if name not in self._asking:
            return await self._begin(name)
        following = self._follow(name, self._asking[name])
        self._next[name] = task = asyncio.create_task(following)
        task.add_done_callback(_heard)
        return await asyncio.shield(task)

    async def _follow(self, name: Key, ended: asyncio.Future[None]) -> Result:
        await asyncio.wait([ended], timeout=MAX_WAIT_SECONDS)
        # Who comes from now on is too late for this question.
        del self._next[name]
        return await self._begin(name)

    async def _begin(self, name: Key) -> Result:
        ended = self._asking[name] = asyncio.get_running_loop().create_future()
        try:
            return await self._ask(name)
        finally:
            if self._asking.get(name) is ended:
                del self._asking[name]
            ended.set_result(None)


def _heard(task: asyncio.Task[Result]) -> None:
    """A failure is no news where all who waited have gone."""
    if not task.cancelled():
        task.exception()

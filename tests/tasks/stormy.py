"""A store in memory whose answers are as bad as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fwd2bot_core.errors import ObjectForbidden, ObjectMissing, StoreUnreachable
from infra.objects import ObjectInfo
from infra.objects.memory import MemoryStore


class Crash(BaseException):
    """The process died here."""


class Stormy(MemoryStore):
    """A store with versions that answers each deletion as ``answers`` say, the n-th one; else as it should."""

    def __init__(self, name: str, *, versions: bool = True) -> None:
        super().__init__(name, versions=versions)
        self.answers: dict[int, str] = {}
        self.asked = 0
        self.locked: set[str] = set()  # keys that it refused once
        self.deaf = 0  # so many questions about versions are not answered
        self.before: Callable[[ObjectInfo], None] = lambda info: None  # just before a deletion takes effect

    def delete_version(self, info: ObjectInfo) -> None:
        said = self.answers.get(self.asked, "as it should")
        self.asked += 1
        if said == "timeout":
            raise StoreUnreachable("no answer, nothing done")
        if said == "forbidden" or info.key in self.locked:
            self.locked.add(info.key)
            raise ObjectForbidden("locked")
        if said == "lie":
            return
        if said == "die-before":
            raise Crash
        self.before(info)
        super().delete_version(info)
        if said == "missing":
            raise ObjectMissing("gone when it was to be deleted")
        if said == "effect-timeout":
            raise StoreUnreachable("no answer, all done")
        if said == "die-after":
            raise Crash
        if said == "deaf":
            self.deaf = 1

    def versions_of(self, key: str) -> Sequence[ObjectInfo]:
        if self.deaf:
            self.deaf -= 1
            raise StoreUnreachable("no answer")
        return super().versions_of(key)

"""A policy from the bytes of a YAML file, read so strictly that nobody can misread it.

Every scalar is a plain text (YAML's ``no`` is no boolean here, ``1:30`` no number, an empty value no default); names
that stand twice, aliases, anchors, tags, several documents and large or deep files are refused. Knows YAML and how to
say what is wrong. Knows nothing of what a policy means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.policy import Policy

MOST_BYTES = 64 * 1024
DEEPEST = 12
MOST_PROBLEMS = 10  # that one message names
_QUOTES = "put a pattern that begins with * into quotes"
_CHOICES = {"reviewed", "automatic", "observe", "pilot", "enforce"}  # which alternative was meant, not a name


@dataclass(frozen=True, slots=True)
class Document:
    """A policy and the exact bytes that people read, approve and hash."""

    policy: Policy
    data: bytes

    @property
    def sha256(self) -> str:
        """Of the file, as ``sha256sum`` prints it."""
        return hashlib.sha256(self.data).hexdigest()

    def reference(self) -> dict[str, Any]:
        """What decisions and audit events say of the policy that they follow."""
        policy = self.policy
        said = {"id": policy.id, "version": policy.version, "sha256": self.sha256}
        return said | {"meaning_sha256": policy.meaning_sha256}


def read(data: bytes, name: str = "policy") -> Document:
    """Raises ``UsageError``, which begins with ``name`` and says where and what, of up to ten problems."""
    if len(data) > MOST_BYTES:
        raise UsageError(f"{name} has {len(data):,} bytes; a policy has at most {MOST_BYTES:,}")
    try:
        text = data.decode("utf-8-sig")
        _refuse_tricks(text)
        said = _plain(yaml.compose(text, Loader=yaml.BaseLoader))
        return Document(Policy.model_validate(said), data)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        line = f", line {at.line + 1}" if at else ""
        hint = f"; {_QUOTES}" if error.context == "while scanning an alias" else ""
        raise UsageError(f"{name}{line}: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{name} is no YAML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{name}: {_told(error)}") from None


def _refuse_tricks(text: str) -> None:
    """What YAML offers beyond plain nested values hides more than it helps; depth is limited before any recursion."""
    depth, documents = 0, 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _refused(f"aliases (*name) are not allowed; {_QUOTES}", event)
        if getattr(event, "anchor", None) is not None:
            raise _refused("anchors (&name) are not allowed", event)
        if (tag := getattr(event, "tag", None)) is not None:
            raise _refused(f"tags ({tag}) are not allowed", event)
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if documents > 1:
            raise _refused("a second document (---) is not allowed", event)
        if depth > DEEPEST:
            raise _refused(f"nested deeper than {DEEPEST}", event)


def _plain(node: yaml.Node | None) -> Any:
    """Dicts, lists and texts."""
    if node is None:
        raise yaml.YAMLError("the file is empty")
    if isinstance(node, yaml.ScalarNode):
        if not node.value.isprintable():
            raise _refused("a character that does not show is not allowed", node)
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    found: dict[Hashable, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _refused("a name must be a plain word", key)
        if key.value in found:
            raise _refused(f"{key.value!r} stands here twice", key)
        found[key.value] = _plain(value)
    return found


def _refused(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


def _told(error: ValidationError) -> str:
    found = error.errors(include_url=False)
    problems = [_one(problem) for problem in found if not _follows(problem, found)]
    more = len(problems) - MOST_PROBLEMS
    return "; ".join(problems[:MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _follows(problem: Any, found: Any) -> bool:
    """A list is called too short when its items are refused; naming those is enough."""
    below = [other for other in found if other["loc"][:-1][: len(problem["loc"])] == problem["loc"]]
    return problem["type"] == "too_short" and bool(below)


def _one(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in _CHOICES)
    said = str(problem["msg"]).removeprefix("Value error, ")
    what = {"extra_forbidden": "no such name", "missing": "is missing"}.get(problem["type"], said)
    return f"{where or 'as a whole'}: {what}"

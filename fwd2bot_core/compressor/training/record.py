"""What a run writes beside its checkpoint: its settings, which it may not change, and its steps as JSON lines.

Knows files. Knows nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fwd2bot_core.compressor.training.loop import Progress, Recipe, Watcher
from fwd2bot_core.errors import UsageError

SETTINGS, LOG = "run.json", "log.jsonl"
FREE = (
    "training.device",
    "training.checkpoint_seconds",
    "data.threads",
    "data.cache_mb",
    "training.evaluate",
)


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make ``folder`` that of a run with these settings; raises ``UsageError`` if it is already another's.

    Settings that change nothing of what is learned (``FREE``) may differ when a run goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, mine = folder / SETTINGS, _flat(json.loads(json.dumps(settings)))
    if path.exists():
        theirs = _flat(json.loads(path.read_text()))
        differ = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
        if wrong := [name for name in differ if name not in FREE]:
            raise UsageError(
                f"{folder} holds a training with another {wrong[0]} ({theirs.get(wrong[0])!r}, now "
                f"{mine.get(wrong[0])!r}): name another output, or remove that folder to begin anew"
            )
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")
    partial.replace(path)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


class Log(Watcher):
    """``log.jsonl``: one line a report, each step once even if it was made again after a crash."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG

    def began(self, recipe: Recipe, progress: Progress) -> None:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        kept = [line for line in lines if (step := _step(line)) is not None and step <= progress.step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(f"{line}\n" for line in kept))
        partial.replace(self._path)

    def reported(self, recipe: Recipe, progress: Progress, values: Mapping[str, float]) -> None:
        line = {"step": progress.step, "seconds": round(progress.seconds, 1), **values}
        with self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")


class Several(Watcher):
    """All of them are told."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def began(self, recipe: Recipe, progress: Progress) -> None:
        for watcher in self._watchers:
            watcher.began(recipe, progress)

    def stepped(self, recipe: Recipe, progress: Progress) -> None:
        for watcher in self._watchers:
            watcher.stepped(recipe, progress)

    def reported(self, recipe: Recipe, progress: Progress, values: Mapping[str, float]) -> None:
        for watcher in self._watchers:
            watcher.reported(recipe, progress, values)


def _step(line: str) -> int | None:
    """Of a whole line; a crash may have cut the last one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None

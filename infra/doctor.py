"""Is everything that a night needs there, and right? Each part is really used once, never just looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from fwd2bot_core.compressor.loading import load, read_spec, self_check
from fwd2bot_core.compressor.view import BUNDLES_OWN
from fwd2bot_core.errors import CompressorError, Fwd2BotError
from infra import doctor_ledger, doctor_stores
from infra.anchoring import warning
from infra.anchors import Anchor, anchors_of
from infra.certificate_pair import Pair, check
from infra.executor import make_executor
from infra.installation import Installation
from infra.judging import questions


@dataclass(frozen=True, slots=True)
class Check:
    """One part's health."""

    part: str
    ok: bool
    detail: str


def examine(house: Installation) -> Iterator[Check]:
    """One check after the other, each as soon as it is known; none stops the next."""
    yield _checked("ledger", lambda: doctor_ledger.examine(house))
    yield _checked("archive store", lambda: doctor_stores.archive(house))
    for name in house.settings.collections:
        yield _checked(f"originals of {name}", lambda name=name: doctor_stores.originals(house, name))  # type: ignore[misc]
    yield _checked("compressor", lambda: _compressor(house))
    for name in house.settings.collections:
        if house.settings.view(name) != BUNDLES_OWN:
            yield _checked(f"view of {name}", lambda name=name: _view(house, name))  # type: ignore[misc]
    for name, collection in house.settings.collections.items():
        if collection.fidelity.sample or collection.fidelity.probes:
            yield _checked(f"probes of {name}", lambda name=name: _probes(house, name))  # type: ignore[misc]
    for anchor in anchors_of(house.settings):
        yield _checked(f"anchor {anchor.name}", lambda anchor=anchor: _anchor(house, anchor))  # type: ignore[misc]
    if few := warning(len(house.settings.audit.anchors)):
        yield Check("anchors", True, few)
    for name in list(house.settings.collections)[:1]:
        yield _checked("cluster", lambda name=name: _cluster(house, name))  # type: ignore[misc]


def _checked(part: str, examine: Callable[[], str]) -> Check:
    try:
        return Check(part, True, examine())
    except Fwd2BotError as error:
        return Check(part, False, str(error))
    except Exception as error:
        return Check(part, False, f"unexpected, and our fault: {type(error).__name__}: {error}")


def _compressor(house: Installation) -> str:
    bundle = house.settings.compressor.bundle
    if findings := self_check(bundle):
        raise CompressorError(f"bundle {bundle!r}: {'; '.join(findings)}")
    own = read_spec(bundle)
    return f"{own.name} {own.short}: hashes are right and its probes answer as when it was made"


def _view(house: Installation, name: str) -> str:
    """Only a loaded model can say whether it takes the view's resolution."""
    spec = load(house.settings.compressor.bundle, view=house.settings.view(name)).spec
    return f"{spec.name} {spec.short} gives {spec.k} tokens of each photo: {', '.join(spec.crops)}"


def _probes(house: Installation, name: str) -> str:
    asked = questions(house.compressor(name), house.settings.collections[name].fidelity.probes)
    return f"{len(asked)} questions that {house.spec(name).name} can read"


def _anchor(house: Installation, anchor: Anchor) -> str:
    said, url = anchor.examine(), make_url(house.settings.archive.ledger)
    beside = anchor.kind == "directory" and url.get_backend_name() == "sqlite" and url.database
    if beside and Path(anchor.place).stat().st_dev == Path(str(url.database)).stat().st_dev:
        said += ". It is on the ledger's own disk: whoever holds that holds both"
    return said


def _cluster(house: Installation, name: str) -> str:
    execution = house.settings.execution
    with make_executor(execution, house.worker_config(name)) as executor:
        said = f"{executor.workers} loaded compressor {house.spec(name).short}"
    if execution.certificates is not None:
        until = check(Pair.of(Path(execution.certificates), "client"))
        said += f"; our certificate holds until {until:%Y-%m-%d}"
    return said

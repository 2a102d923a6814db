"""Every setting, typed and frozen, with one order of sources.

    given in code > environment (FWD2BOT_SECTION__NAME) > .env beside the file > fwd2bot.toml > default

Locations may be ``s3://bucket/prefix``, ``file:///path``, ``memory://name`` or a plain path, which counts
from the folder of the settings file. Unknown names are refused: a misspelt setting must not become a default.
Knows nothing about what the values are used for.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError as UnreadableVariable

from fwd2bot_core.compressor.view import View
from fwd2bot_core.compressor.view_settings import ViewSettings
from fwd2bot_core.day_keys import check_day_first
from fwd2bot_core.errors import SettingsError, UsageError
from fwd2bot_core.tokens.codec_name import CodecName
from infra.audit_settings import AnchorSettings as AnchorSettings
from infra.audit_settings import AuditSettings
from infra.capture_settings import CaptureSettings
from infra.discovery_settings import ContainerSettings, DiscoverySettings
from infra.execution_settings import ExecutionSettings as ExecutionSettings
from infra.objects import S3Options
from infra.prices import PriceSettings
from infra.search_settings import SearchSettings
from infra.service_settings import ServiceSettings
from infra.setting_types import (
    Block,
    Bundle,
    CollectionName,
    Cron,
    Hours,
    LedgerUrl,
    Location,
    PoolName,
    Probe,
    Section,
    Zone,
    base,
    masked,
)

DEFAULT_FILE = "fwd2bot.toml"
FILE_VARIABLE = "FWD2BOT_CONFIG"
DEBUG_VARIABLE = "FWD2BOT_DEBUG"  # read by the command: tracebacks of what is our fault
_OURS = "fwd2bot_"  # what our variables start with, in any case
_NO_SETTINGS = {FILE_VARIABLE.lower(), DEBUG_VARIABLE.lower(), "fwd2bot_crash_at"}  # ours, and read elsewhere


class ArchiveSettings(Section):
    """Where what we make is kept. Its credentials need not, and should not, reach the originals."""

    store: Location = Field("archive", validate_default=True, description="shards, segments and manifests")
    ledger: LedgerUrl = Field(
        "ledger.sqlite", validate_default=True, repr=False, description="SQL database URL or path"
    )
    s3: S3Options = Field(default_factory=S3Options, description="how the store is reached, if s3://")


class FidelitySettings(Section):
    """How it is judged what stored tokens still say of a collection's photos; see docs/fidelity.md."""

    sample: float = Field(
        0.0, ge=0, le=1, description="share of images judged each night; costs several forward passes each"
    )
    threshold: float = Field(0.9, ge=0, le=1, description="a score below this is reported as low")
    probes: tuple[Probe, ...] = Field((), description="questions to judge by; the bundle's if none are given")


class CollectionSettings(Section):
    """One set of originals that belongs together: a line, a plant, a camera."""

    originals: Location = Field(description="where the photos are")
    prefix: str = Field("", description="only keys that start so")
    s3: S3Options = Field(default_factory=S3Options, description="how the store is reached, if s3://")
    view: ViewSettings = Field(ViewSettings(), description="how its photos are looked at, where it differs")
    fidelity: FidelitySettings = Field(FidelitySettings(), description="how stored tokens are judged")
    capture: CaptureSettings = Field(CaptureSettings(), description="when its photos were taken")
    containers: ContainerSettings = Field(ContainerSettings(), description="files of several photos")
    discovery: DiscoverySettings = Field(DiscoverySettings(), description="how what is new is found")
    codec: CodecName = Field(
        "exact", description="how tokens are stored: exact, or rounded to int8, bits4, bits3 or bits2"
    )
    purge_days: int | None = Field(
        None,
        ge=0,
        le=3650,
        description="days for which its provider keeps what was deleted; stands on certificates",
    )

    @model_validator(mode="after")
    def _days_can_be_listed(self) -> Self:
        """What is looked at between sweeps must be something; and by days only where keys begin with one."""
        found = self.discovery
        if found.ordered:
            if self.capture.name is None:
                raise ValueError("discovery.ordered needs capture.name, a pattern that begins with the day")
            try:
                check_day_first(self.capture.name)
            except UsageError as error:
                raise ValueError(str(error)) from None
        if found.inventory is not None and not (found.ordered or found.events):
            raise ValueError(
                "discovery.inventory is for sweeps: name what nights look at between them, ordered or events"
            )
        return self


class CompressorSettings(Section):
    """Which bundle compresses, and how it looks at photos where a collection does not say otherwise."""

    bundle: Bundle = Field(
        "nano", description="'nano' (shipped), 'fake' (no weights, for tests), or a folder"
    )
    micro_batch: int = Field(
        32, ge=1, le=4096, description="crops a forward pass; a photo without tiles is one"
    )
    view: ViewSettings = Field(ViewSettings(), description="how photos are looked at")


class LimitSettings(Section):
    """What is too big to be a photo."""

    max_pixels: int = Field(100_000_000, ge=1, description="pixels, read from the header before decoding")
    max_bytes: int = Field(512 * 1024**2, ge=1, description="bytes of one file")


class NightSettings(Section):
    """The nightly run."""

    batch_size: int = Field(1000, ge=1, le=20_000, description="images a shard, at most")
    smallest_batch: int = Field(64, ge=1, description="do not split below this to feed more workers")
    cron: Cron = Field("0 1 * * *", description="when `fwd2bot serve` starts a night")
    zone: Zone = Field("UTC", description="IANA time zone of the cron line and of the night's date")
    window: Hours | None = Field(
        None, description="hours in which batches are begun, such as 22:00-06:00, in night.zone"
    )
    lease_seconds: float = Field(60.0, gt=0, description="a run silent for so long has lost its lease")
    engine: Literal["prefect", "direct"] = Field("prefect", description="with Prefect's records, or without")
    orphan_hours: float = Field(24.0, ge=0, description="uncommitted objects are swept when older")


class RetentionSettings(Section):
    """The retention run; see docs/retention.md."""

    cron: Cron = Field("0 4 * * *", description="when policies have their turn; zone as night.zone")
    act: bool = Field(
        False, description="whether scheduled runs list and destroy; else they show what they would"
    )
    author: str | None = Field(None, description="registered person in whose name scheduled runs make lists")
    sample: int = Field(
        500, ge=0, le=100_000, description="originals of a collection asked for at the end of each run"
    )


class PrefectSettings(Section):
    """What `fwd2bot deploy` registers at a Prefect server; the server itself is PREFECT_API_URL's."""

    pool: PoolName = Field("fwd2bot", description="work pool whose workers run the nights")
    notify: Block | None = Field(None, description="block there that is told of bad nights, as TYPE/NAME")
    start_minutes: float = Field(
        30.0, ge=1, description="a night not begun so long after its time is told of"
    )
    stale_minutes: float = Field(5.0, ge=0, description="a run without our lease for so long is dead")


class Settings(BaseSettings):
    """The whole configuration of one installation."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FWD2BOT_", env_nested_delimiter="__"
    )

    archive: ArchiveSettings = Field(default_factory=lambda: ArchiveSettings())
    collections: dict[CollectionName, CollectionSettings] = {}
    compressor: CompressorSettings = CompressorSettings()
    execution: ExecutionSettings = ExecutionSettings()
    limits: LimitSettings = LimitSettings()
    night: NightSettings = NightSettings()
    audit: AuditSettings = Field(default_factory=lambda: AuditSettings())
    retention: RetentionSettings = RetentionSettings()
    prefect: PrefectSettings = PrefectSettings()
    search: SearchSettings = SearchSettings()
    service: ServiceSettings = ServiceSettings()
    prices: PriceSettings = PriceSettings()

    @model_validator(mode="after")
    def _memory_stays_in_one_process(self) -> Self:
        locations = [self.archive.store, *(c.originals for c in self.collections.values())]
        if self.execution.executor != "inline" and any(at.startswith("memory://") for at in locations):
            raise ValueError("memory:// lives in one process; use it with execution.executor = 'inline'")
        return self

    @model_validator(mode="after")
    def _secrets_stay_here(self) -> Self:
        reached = [self.archive.s3, *(c.s3 for c in self.collections.values())]
        if self.execution.executor != "inline" and any(s3.access_key_id is not None for s3 in reached):
            raise ValueError(
                "secrets do not travel to worker processes; name environment variables that hold them "
                "(s3.access_key_id_env, s3.secret_access_key_env), or use the AWS chain"
            )
        return self

    @model_validator(mode="after")
    def _views_can_be(self) -> Self:
        for name in self.collections:
            try:
                self.view(name)
            except UsageError as error:
                raise ValueError(f"collections.{name}.view (with compressor.view): {error}") from None
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # load_settings merges the rest, so that it can name sources

    def collection(self, name: str | None) -> tuple[str, CollectionSettings]:
        """The named collection, or the only one there is; ``SettingsError`` says which there are."""
        if name is None and len(self.collections) == 1:
            return next(iter(self.collections.items()))
        if name in self.collections:
            return name, self.collections[name]
        known = ", ".join(sorted(self.collections)) or "none"
        asked = "name a collection" if name is None else f"no collection {name!r} in the settings"
        raise SettingsError(f"{asked}; known: {known}. Add [collections.NAME] to {DEFAULT_FILE}.")

    def view(self, collection: str) -> View:
        """How photos of a collection are looked at; one that is in the ledger only has no settings of its own."""
        return self.view_settings(collection).view()

    def view_settings(self, collection: str) -> ViewSettings:
        """Those of ``[compressor.view]`` with what ``[collections.NAME.view]`` says otherwise, name by name."""
        named = self.collections.get(collection)
        own = {} if named is None else named.view.model_dump(exclude_unset=True)
        return self.compressor.view.model_copy(update=own)


def settings_file(given: Path | None = None) -> Path | None:
    """The file that will be read: the one given, else $FWD2BOT_CONFIG, else ./fwd2bot.toml if it is there."""
    named = given or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if named is None:
        return Path(DEFAULT_FILE).resolve() if Path(DEFAULT_FILE).is_file() else None
    if not named.is_file():
        raise SettingsError(
            f"there is no settings file {named}; write one, or run `fwd2bot demo DIR` for a sample"
        )
    return named.resolve()


def load_settings(given: Path | None = None) -> Settings:
    """Read all sources. Raises ``SettingsError`` with one line a problem."""
    file = settings_file(given)
    layers = _layers(file)
    token = base.set(file.parent if file else Path.cwd())
    try:
        return Settings(**_merge([layer for _, layer in reversed(layers)]))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise SettingsError(f"wrong settings in {_described(file)}: {problems}") from None
    finally:
        base.reset(token)


def explain_settings(given: Path | None = None) -> list[tuple[str, str, str]]:
    """(name, value, source) of each setting; secrets are masked."""
    file = settings_file(given)
    layers = [(source, dict(_leaves(layer))) for source, layer in _layers(file)]
    rows = []
    for name, value in _leaves(_in_force(load_settings(given))):
        source = next((source for source, leaves in layers if name in leaves), _inherited(name, layers))
        shown = "" if value is None else masked(str(value))
        rows.append((name, shown, source))
    return rows


def _inherited(name: str, layers: list[tuple[str, dict[str, Any]]]) -> str:
    """Where a setting comes from that no source names: a collection's view takes over the compressor's."""
    general, _, setting = name.rpartition(".view.")
    taken = f"compressor.view.{setting}"
    named = general.startswith("collections.") and any(taken in leaves for _, leaves in layers)
    return "compressor.view" if named else "default"


def _in_force(settings: Settings) -> dict[str, Any]:
    """All values, those of a collection's view with what it takes over from ``[compressor.view]``."""
    values = settings.model_dump(mode="json")
    for name, collection in values["collections"].items():
        collection["view"] = settings.view_settings(name).model_dump(mode="json")
    return values


def _layers(file: Path | None) -> list[tuple[str, dict[str, Any]]]:
    """(source, values) from strongest to weakest."""
    beside = (file.parent if file else Path.cwd()) / ".env"
    return [
        ("environment", _read_variables(EnvSettingsSource(Settings), "the environment")),
        (str(beside), _read_variables(_dotenv(beside), str(beside))),
        (str(file), _read_toml(file) if file else {}),
    ]


def _dotenv(file: Path) -> EnvSettingsSource:
    try:
        return DotEnvSettingsSource(Settings, env_file=file, env_file_encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {file}: {error}") from None


def _read_variables(source: EnvSettingsSource, where: str) -> dict[str, Any]:
    """What FWD2BOT_ variables say. Others are meant for other programs; a misspelt one of ours is refused."""
    ours = {name: text for name, text in source.env_vars.items() if name.lower().startswith(_OURS)}
    ours = {name: text for name, text in ours.items() if name.lower() not in _NO_SETTINGS}
    for name in ours:
        if name.lower().removeprefix(_OURS).split("__")[0] not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise SettingsError(f"{where} sets {name.upper()}, which is no setting; sections are: {known}")
    source.env_vars = ours
    try:
        return source()
    except UnreadableVariable as error:
        raise SettingsError(
            f"{where} gives a whole section something else than JSON ({error}); set one value of it, such as "
            "FWD2BOT_NIGHT__CRON"
        ) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from None


def _merge(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Later layers win, leaf by leaf."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(merged.get(key), dict) and isinstance(value, dict)
            merged[key] = _merge([merged[key], value]) if both else value
    return merged


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _described(file: Path | None) -> str:
    return f"{file} and the environment" if file else "the environment (no settings file was found)"

"""One installation, opened: its settings, ledger, stores and compressor, each made when first needed.

The only place that turns settings into connections. Knows nothing about runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.loading import load, read_spec
from fwd2bot_core.compressor.protocol import Compressor, CompressorSpec
from fwd2bot_core.errors import CompressorMismatch
from infra.database import Ledger, open_ledger
from infra.judging import Probing
from infra.objects import ObjectStore, open_store
from infra.settings import Settings
from infra.sources.containers import open_originals
from infra.worker import WorkerConfig


@dataclass(frozen=True)
class Installation:
    """What the steps of a night work with."""

    settings: Settings

    @cached_property
    def ledger(self) -> Ledger:
        """The SQL database, migrated."""
        return open_ledger(self.settings.archive.ledger)

    @cached_property
    def archive(self) -> ObjectStore:
        """The store of shards, segments and manifests."""
        return open_store(self.settings.archive.store, s3=self.settings.archive.s3, create_root=True)

    def spec(self, collection: str) -> CompressorSpec:
        """The compressor of one collection, without its weights: the bundle of the settings, seen through its view."""
        if collection not in self._specs:
            view = self.settings.view(collection)
            self._specs[collection] = read_spec(self.settings.compressor.bundle, view)
        return self._specs[collection]

    @cached_property
    def _specs(self) -> dict[str, CompressorSpec]:
        return {}

    def compressor(self, collection: str) -> Compressor:
        """The same with its weights, loaded into this process.

        Raises ``CompressorMismatch`` if the bundle was replaced since ``spec`` was read: what was looked up for the old
        one must not be answered by the new one.
        """
        settings, planned = self.settings, self.spec(collection)
        loaded = load(
            settings.compressor.bundle,
            view=settings.view(collection),
            threads=settings.execution.torch_threads,
            limits=self.limits,
            device=settings.execution.device,
        )
        if loaded.spec.fingerprint != planned.fingerprint:
            raise CompressorMismatch(
                f"bundle {settings.compressor.bundle!r} was replaced meanwhile: it was {planned.short} and is now "
                f"{loaded.spec.short}. Nothing was answered; run again."
            )
        return loaded

    @property
    def limits(self) -> DecodeLimits:
        """What is too big to be decoded."""
        limits = self.settings.limits
        return DecodeLimits(max_pixels=limits.max_pixels, max_bytes=limits.max_bytes)

    def originals(self, collection: str) -> ObjectStore:
        """The store of one collection's photos, its containers opened where the settings say so."""
        _, settings = self.settings.collection(collection)
        rules = settings.containers.rules()
        if not rules:
            return open_store(settings.originals, s3=settings.s3)
        return open_originals(settings.originals, settings.s3, rules, self.archive)

    def worker_config(self, collection: str) -> WorkerConfig:
        """What a worker must know to compress batches of that collection."""
        settings, (_, source) = self.settings, self.settings.collection(collection)
        return WorkerConfig(
            bundle=settings.compressor.bundle,
            view=settings.view(collection),
            fingerprint=self.spec(collection).fingerprint,
            originals=source.originals,
            originals_s3=source.s3,
            archive=settings.archive.store,
            archive_s3=settings.archive.s3,
            micro_batch=settings.compressor.micro_batch,
            device=settings.execution.worker_device,
            torch_threads=settings.execution.torch_threads,
            fetch_threads=settings.execution.fetch_threads,
            limits=self.limits,
            codec=source.codec,
            probing=Probing(source.fidelity.sample, source.fidelity.probes),
            capture=source.capture.rules(),
            containers=source.containers.rules(),
        )


@contextmanager
def opened(settings: Settings) -> Iterator[Installation]:
    """An installation whose database connections are closed at the end of the block."""
    installation = Installation(settings)
    try:
        yield installation
    finally:
        if "ledger" in installation.__dict__:
            installation.ledger.close()

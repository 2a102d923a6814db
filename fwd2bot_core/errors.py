"""Every error that Fwd2Bot raises on purpose, and the exit code each one ends a command with.

    Fwd2BotError                       1  failed
    ├── UsageError                     2  the caller can mend it
    │   └── SettingsError              2  a settings file or variable is wrong
    ├── StoreError                     1  an object store did not do what was asked
    │   ├── StoreUnreachable           1
    │   ├── KeyRefused                 1  a key that would leave the store's root, or that it cannot hold
    │   ├── ObjectMissing              1
    │   ├── ObjectExists               1  a create-only put found something there
    │   ├── ObjectChanged              1  not the version that was asked for any more
    │   └── ObjectForbidden            1
    ├── LedgerError                    1  the SQL database did not do what was asked
    │   ├── LedgerUnreachable          1
    │   ├── LedgerLocked               1
    │   └── LedgerNewer                1  its schema was made by a newer Fwd2Bot
    ├── LeaseHeld                      1  another run works on this collection
    ├── LeaseLost                      1  this run was declared dead and another took over
    ├── ClusterError                   1  no workers, or workers without a model
    │   └── SchedulerLost              1  it died while it had batches
    ├── CompressorError                1
    │   ├── BundleInvalid              5  a bundle whose bytes are not what its manifest says
    │   ├── CompressorMismatch         1  tokens of one compressor offered to another
    │   ├── DeviceMemoryFull           1  too many images at a time for the GPU
    │   ├── TrainingFailed             1  a loss is no number, or a checkpoint is none
    │   └── TrainingStopped            1  somebody asked; what was learned is saved
    ├── ImageRejected                  3  one image cannot be compressed; carries a reason for its row
    ├── AccessDenied                   4  that person may not do that
    │   └── SignatureRefused           4  no signature of that person over these bytes
    ├── BlockedByPolicy                4  a list, a hold, a limit or a state forbids it
    ├── NotInArchive                   1  nothing is known of that image
    ├── NotAbsent                      1  something is known of an image that was to be proven absent
    └── IntegrityError                 5  stored bytes are not the bytes that were committed
        ├── NoteInvalid                5  a signed note of a wrong form, or with a known key's wrong signature
        └── UnknownKey                 5  signed by nobody whose key is known, or by a key that may not any more

A message says what happened, to which object, and what to do.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """What a command's exit status means; documented in the README and tested."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY_FAILED = 3
    BLOCKED_BY_POLICY = 4
    INTEGRITY = 5


class RejectReason(StrEnum):
    """Why an image got a failure row instead of summary tokens."""

    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no known image format in the bytes
    NO_DECODER = "no_decoder"  # a known format (HEIC, ...) that this installation cannot read
    TRUNCATED = "truncated"  # the file ends before the picture does, or its data is damaged
    TOO_MANY_PIXELS = "too_many_pixels"  # more pixels than the limit: a decompression bomb, or a rule
    TOO_MANY_BYTES = "too_many_bytes"  # a file larger than the limit
    FORBIDDEN = "forbidden"  # the store refuses to let us read it
    VANISHED = "vanished"  # listed, and gone when it was to be read
    CHANGED = "changed"  # overwritten between listing and reading, or while being read
    STORE_ERROR = "store_error"  # the store did not answer, after retries
    NON_FINITE = "non_finite"  # the model produced NaN or infinity for it
    KILLED_WORKER = "killed_worker"  # the worker process died each time it held this image
    INTERNAL = "internal"  # our fault: an unexpected exception, named in the detail


class Fwd2BotError(Exception):
    """Anything Fwd2Bot raises on purpose; ``exit_code`` is what a command ends with."""

    exit_code: ExitCode = ExitCode.FAILED


class UsageError(Fwd2BotError):
    """The command, or what it was given, is wrong; nothing was done."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """A settings file, environment variable or option is wrong."""


class StoreError(Fwd2BotError):
    """An object store did not do what was asked."""


class StoreUnreachable(StoreError):
    """The store does not answer, or refuses our credentials altogether."""


class KeyRefused(StoreError):
    """The key would leave the store's root, or the store cannot hold a key of that form."""


class ObjectMissing(StoreError):
    """There is no such object, or no such version of it."""


class ObjectExists(StoreError):
    """A create-only put found an object under that key."""


class ObjectChanged(StoreError):
    """The object is not (any more) the version that was asked for."""


class ObjectForbidden(StoreError):
    """The store knows the object but does not let us read or write it."""


class LedgerError(Fwd2BotError):
    """The SQL database did not do what was asked."""


class LedgerUnreachable(LedgerError):
    """The database does not answer or cannot be opened."""


class LedgerLocked(LedgerError):
    """Another process held the database for longer than the busy timeout."""


class LedgerNewer(LedgerError):
    """The database's schema was made by a newer Fwd2Bot than this one."""


class LeaseHeld(Fwd2BotError):
    """Another run is working on the same collection."""


class LeaseLost(Fwd2BotError):
    """This run was taken for dead and another one holds the lease; nothing more may be committed."""


class ClusterError(Fwd2BotError):
    """The cluster has no workers, or workers that cannot load the compressor."""


class SchedulerLost(ClusterError):
    """The cluster's scheduler died, and with it what is known of the batches under way; they are as if never begun."""


class CompressorError(Fwd2BotError):
    """A compressor cannot be loaded or used."""


class BundleInvalid(CompressorError):
    """A bundle's bytes are not what its manifest says, or it is no bundle at all."""

    exit_code = ExitCode.INTEGRITY


class CompressorMismatch(CompressorError):
    """Summary tokens of one compressor were offered to another; they must never mix."""


class DeviceMemoryFull(CompressorError):
    """The device cannot hold so many images at a time; what was tried is freed, fewer may fit."""


class TrainingFailed(CompressorError):
    """A training cannot go on: a loss is no number, data cannot be read, or a checkpoint is none."""


class TrainingStopped(CompressorError):
    """A training was interrupted between two steps, and saved."""


class ImageRejected(Fwd2BotError):
    """One image cannot be compressed. ``reason`` goes to its failure row, ``detail`` explains it."""

    exit_code = ExitCode.PARTLY_FAILED

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ImageRejected], tuple[RejectReason, str]]:
        return type(self), (self.reason, self.detail)  # travels between processes


class AccessDenied(Fwd2BotError):
    """That person may not do that; the attempt is an event of the audit trail."""

    exit_code = ExitCode.BLOCKED_BY_POLICY


class SignatureRefused(AccessDenied):
    """There is no valid signature by that person's key over exactly these bytes."""


class BlockedByPolicy(Fwd2BotError):
    """A policy, a legal hold, a limit or the state of a list forbids it; nothing was done."""

    exit_code = ExitCode.BLOCKED_BY_POLICY


class NotInArchive(Fwd2BotError):
    """Nothing is known of that image, or it has no committed summary tokens yet."""


class NotAbsent(Fwd2BotError):
    """The image is known, so that its absence cannot be proven."""


class IntegrityError(Fwd2BotError):
    """Stored bytes are not the bytes that were committed."""

    exit_code = ExitCode.INTEGRITY


class NoteInvalid(IntegrityError):
    """A signed note (or key of one) has a wrong form, or a known key's signature in it is wrong."""


class UnknownKey(IntegrityError):
    """None of the known keys signed, or the one that did may not sign any more."""

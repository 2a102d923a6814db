"""The first pass over micro-batches of one batch: bad images are found one by one, a full device gets fewer at a time.

Knows the compressor's face alone. Knows nothing of stores, shards or where the images came from.
"""

from __future__ import annotations

import logging

from fwd2bot_core.compressor.protocol import Compressor, Prepared, Summary
from fwd2bot_core.errors import DeviceMemoryFull, RejectReason
from fwd2bot_core.work import Reject
from infra.reading import Fetched

LOG = logging.getLogger(__name__)
Passed = list[tuple[list[Fetched], Summary | Reject]]


class FirstPass:
    """For one batch: what it learns of the device's memory and of images that went through is forgotten with it, since
    another program's memory may be free by the next one."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor
        self._good: Prepared | None = None  # the last image that went through
        self._most: int | None = None  # images at a time that the device holds, once it was full

    @property
    def most(self) -> int | None:
        """Images at a time since the device was full; None if it never was."""
        return self._most

    def __call__(self, group: list[Fetched]) -> Passed:
        """Every image of ``group`` once, in its order: with its summary, or alone with the reason why not.

        Raises what the model raises when it fails for an image that went through before, or for all of several.
        """
        passed: Passed = []
        waiting = group
        while waiting:
            size = min(len(waiting), self._most or len(waiting))
            some = waiting[:size]
            if (made := self._fits(some)) is None:
                self._most = size // 2
                LOG.warning(
                    "device memory is full with %d images at a time: going on with %d", size, size // 2
                )
                continue
            through = [items[-1].prepared for items, result in made if isinstance(result, Summary)]
            self._good = next(iter(through), self._good)
            passed += made
            waiting = waiting[size:]
        return passed

    def _fits(self, group: list[Fetched]) -> Passed | None:
        """``group`` passed; None if the device cannot hold so many at once. The caller tries again when this has
        returned, since an error that is being handled keeps its tensors alive."""
        try:
            return [(group, self._pass_one(group))]
        except DeviceMemoryFull:
            if len(group) > 1:
                return None
        except Exception:
            LOG.debug("a micro-batch failed; each of its images is tried alone", exc_info=True)
        return self._alone(group)

    def _alone(self, group: list[Fetched]) -> Passed:
        """Each image by itself, so that one cannot spoil the others. If all of them raise, an image that went through
        before tells whether the model fails or the images do; without one, several are too many to blame. A failing
        model is the batch's error, and no image's."""
        alone: Passed = []
        last: Exception | None = None
        for item in group:
            try:
                alone.append(([item], self._pass_one([item])))
            except Exception as error:
                last = error
                said = f"the forward pass raised {type(error).__name__}: {error}"
                alone.append(([item], Reject(RejectReason.INTERNAL, said)))
        if last is None or any(isinstance(result, Summary) for _, result in alone):
            return alone
        if self._good is not None:
            self._compressor.compress([self._good])
        elif len(group) > 1:
            raise last
        return alone

    def _pass_one(self, group: list[Fetched]) -> Summary:
        return self._compressor.compress([item.prepared for item in group if item.prepared is not None])

"""The HTTP API for lines that compress where photos are taken: batches out, receipts with tokens and facts in.

The only part of the API that writes. Needs the role that ``tasks.edge`` asks for.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from flows.console.visitors import Bearer, House
from fwd2bot_core.errors import UsageError
from infra.edge_wire import Handed, HandedBatch, Uploaded, Wanted
from tasks.edge import finish, hand_out, take_in

router = APIRouter(prefix="/api/edge")


class Committed(BaseModel):
    """Whether a receipt was news; it is committed either way."""

    committed: bool


@router.post("/batches")
def batches(house: House, person: Bearer, said: Wanted) -> Handed:
    """Register files that stay at the line, and get the next batch. The same request again gives the same batch."""
    files = [one.info() for one in said.files]
    given = hand_out(house, person.name, said.collection, said.compressor, files)
    batch = None if given.batch is None else HandedBatch.of(given.batch)
    over = None
    if said.done and batch is None:
        over = finish(house, person.name, said.collection, listed=said.listed)
    return Handed(
        run=given.run.id,
        fencing=given.run.lease.fencing,
        new=given.new,
        batch=batch,
        summary=None if over is None else over.message,
    )


@router.post("/receipts")
def receipts(house: House, person: Bearer, said: Uploaded) -> Committed:
    """Commit a batch: its shard and segment with their hashes. A second time changes nothing."""
    try:
        receipt, shard, segment = said.parsed()
    except ValueError as error:
        raise UsageError(f"that is no receipt: {str(error)[:300]}") from None
    lease = said.run, said.fencing
    return Committed(committed=take_in(house, person.name, said.collection, lease, receipt, shard, segment))

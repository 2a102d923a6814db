"""The verb that compresses where photos are taken, and sends tokens and facts to a console elsewhere.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode, UsageError

TOKEN = "EDGE_TOKEN"  # noqa: S105 - the name of a variable


@app.command
def edge(
    collection: str,
    folder: Path,
    *,
    server: Annotated[str, Parameter(help="The console's address.")],
    common: Common = DEFAULTS,
) -> int:
    """Compress a folder here, and send its tokens and facts to the console; no photo leaves this machine.

    The token of a person stands in EDGE_TOKEN (`export EDGE_TOKEN=fwd2bot_...`). Killed, it goes on when it is run
    again. Exit code 3: some images could not be compressed.

    Example: fwd2bot edge line-7 /var/camera --server https://fwd2bot.example
    """
    import tempfile

    from infra.edge_line import Sent, compress_folder, sender
    from infra.installation import Installation
    from tasks.units import size

    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UsageError(
            f"{TOKEN} holds no token: `fwd2bot people token NAME` makes one where the console runs"
        )
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    console, house = terminal(), Installation(common.settings())

    def tell(done: Sent) -> None:
        if not common.json:
            said = f"{done.compressed:,} compressed, {size(done.read)} read, {size(done.sent)} sent"
            console.print(said, markup=False, highlight=False)

    with tempfile.TemporaryDirectory(prefix="fwd2bot-edge-") as spool:
        config = house.worker_config(collection)
        done = compress_folder(sender(server, token), collection, folder, config, Path(spool), tell)
    if common.json:
        print(json.dumps(asdict(done), sort_keys=True))
    else:
        console.print(done.summary or "nothing new", markup=False, highlight=False)
        if done.unnamed:
            console.print(
                f"{len(done.unnamed):,} files were left out: their names are not Unicode", markup=False
            )
    return ExitCode.PARTLY_FAILED if done.rejected or done.unnamed else ExitCode.OK

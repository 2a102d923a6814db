"""The process of a Prefect server that lives as long as whoever started it, and no longer.

Knows its starter only as the other end of its standard input: the kernel closes that end when the starter ends,
however it ends. Imports nothing of Fwd2Bot, so that no folder of that name can come between.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

GRACE_SECONDS = 3  # for requests that are under way
PATIENCE_SECONDS = 10  # for the server's own services to end


def main(port: int, every_service: bool) -> None:
    """Serve on loopback; ``every_service`` also schedules runs and shows pages, which one night has no use for."""
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    uvicorn.run(
        create_app(ephemeral=not every_service, final=True),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _end_with_the_starter() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), every_service=sys.argv[2] == "all")

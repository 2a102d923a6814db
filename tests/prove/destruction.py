"""Kill -9 at every durable step of a destruction, on a real S3 server and both databases, and see what is made of it.

``python -m tests.prove.destruction`` goes through every case that is not proven yet and can be stopped at any time;
``--fresh`` starts over. Each case is a list of six originals, carried out by the real command in a process of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts

from infra.crashpoints import DESTROY_STEPS
from infra.retention_tables import policies
from tests.bench import machine
from tests.prove.destruction_child import AT_ONCE, BATCH
from tests.prove.destruction_site import PHOTOS, Site, site
from tests.prove.evidence import Evidence, Page, Record
from tests.servers import postgresql
from tests.servers.seaweedfs import seaweedfs

KILLED = -9
TRIES = 3  # of carrying a list out, after its process was killed
DATABASES = ("sqlite", "postgresql")
MIDDLE = (
    "destroy.intended#2",
    "destroy.anchored#2",
    "destroy.deleted#3",
    "destroy.deleted#5",
    "destroy.confirmed#2",
)
ALL_GONE = {"destroyed": PHOTOS}
PAGE = Page(
    name="destruction",
    title="What a killed destruction leaves, and what the next run makes of it",
    about="Destruction",
    columns=("case", "killed", "exits", "seconds:", "verdict"),
    how="`python -m tests.prove.destruction`; each line is a list of its own",
    checked="Looked at when the process had just died and at the end, with the server's own client and plain SQL: no "
    "version is gone whose intent is not in the log and in the anchor's folder; what is said to be destroyed is not "
    "there; nothing was confirmed twice; each item came to its end; the log is VALID once it is signed.",
    codes="Exit codes in order: the killed run (-9), and the runs after it.",
)
app = cyclopts.App(name="destruction", help=__doc__)
Case = Callable[[Site], dict[str, int]]


@app.default
def main(
    *,
    only: Annotated[str, cyclopts.Parameter(help="Cases whose name matches this pattern.")] = "*",
    minutes: Annotated[float, cyclopts.Parameter(help="Start no case later than this.")] = 60,
    fresh: Annotated[bool, cyclopts.Parameter(help="Forget what was proven.", negative="")] = False,
    out: Annotated[Path, cyclopts.Parameter(help="Folder of destruction.json and .md.")] = Path(
        "docs/evidence"
    ),
) -> int:
    """Run what is not proven yet. Exit code 0: all hold; 1: one does not; 3: the time ran out."""
    ends, failed, left = time.monotonic() + 60 * minutes, 0, 0
    parameters = {"originals": PHOTOS, "batch": BATCH, "at once": AT_ONCE, "store": "SeaweedFS, versioned"}
    evidence = Evidence(out, parameters, fresh=fresh, page=PAGE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fwd2bot-destruction-")))
        server = stack.enter_context(seaweedfs())
        bucket = server.make_bucket("originals", versioned=True)
        postgres = stack.enter_context(postgresql.postgresql())
        for number, (name, database, case) in enumerate(cases()):
            if name in evidence or not fnmatch(name, only):
                continue
            if time.monotonic() > ends:
                left += 1
                continue
            here = folder / f"case-{number}"
            url = f"sqlite:///{here}/ledger.sqlite" if database == "sqlite" else postgres.make_database()
            with site(here, url, server, bucket) as made:
                record = prove(made, name, case)
            about = machine.describe()
            record.commit = about["commit"]
            evidence.add(record, about)
            failed += not record.proven
            print(f"{name}: {'holds' if record.proven else record.problems} {record.exits}", flush=True)
    return 1 if failed else 3 if left else 0


def cases() -> Iterator[tuple[str, str, Case]]:
    """Name, database, and what is done to a site."""
    for database in DATABASES:
        for step in (*DESTROY_STEPS, *MIDDLE):
            yield f"{step} {database}", database, _case_of(step)
        yield f"every deletion {database}", database, killed_at_each_deletion


def prove(made: Site, name: str, case: Case) -> Record:
    """Do it, look, and write down."""
    begun = time.monotonic()
    made.judge(case(made))
    died = made.exits.count(KILLED)
    if not died:
        made.problems.append("nobody died")
    killed = f"the run, {'once' if died == 1 else f'{died} times'}"
    return Record(
        name, killed, list(made.exits), [round(time.monotonic() - begun, 1)], problems=made.problems
    )


def _case_of(step: str) -> Case:
    special = {"destroy.settled": killed_while_it_settles, "destroy.withdrawn": killed_while_it_takes_back}
    return special.get(step) or partial(killed_once, step)


def killed_once(step: str, made: Site) -> dict[str, int]:
    made.destroy(crash_at=step)
    return carried_out(made)


def killed_while_it_settles(made: Site) -> dict[str, int]:
    """The second run dies after it asked what became of what the first one left."""
    made.destroy(crash_at="destroy.deleted#2")
    made.look()
    made.destroy(crash_at="destroy.settled")
    return carried_out(made)


def killed_while_it_takes_back(made: Site) -> dict[str, int]:
    """Between two runs the policy is retired: the second one takes the intents back, and dies."""
    made.destroy(crash_at="destroy.anchored")
    made.look()
    made.world.write(policies.update().values(state="retired"))
    made.destroy(crash_at="destroy.withdrawn")
    made.look()
    made.destroy()
    return {"blocked": BATCH, "listed": PHOTOS - BATCH}


def killed_at_each_deletion(made: Site) -> dict[str, int]:
    """Each run deletes one or two versions and dies."""
    while made.destroy(crash_at="destroy.deleted") == KILLED:
        made.look()
    return carried_out(made)


def carried_out(made: Site) -> dict[str, int]:
    """Run again until the list is done."""
    made.look()
    for _ in range(TRIES):
        if made.destroy() == 0:
            break
    return ALL_GONE


if __name__ == "__main__":
    raise SystemExit(app())

"""All real parts on this machine, without containers.

    python -m tests.parts up       start what is not there, and say how to run a night on it
    python -m tests.parts status   what is there
    python -m tests.parts down     stop it; data stay, unless --clean

Object store, PostgreSQL, a Dask scheduler with TLS and its workers, a Prefect server and its worker: each a process of
its own on loopback, under one folder. Nobody starts again what dies; ``up`` does.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from tests.parts import photos
from tests.parts.plant import Plant, write_for_me
from tests.servers import postgresql

app = cyclopts.App(name="parts", help=__doc__)
Folder = Annotated[Path, Parameter(help="Where data, logs and settings lie.")]
FOLDER = Path("parts")
COLLECTION = "line-1"
WORKERS = 2


@app.command
def up(
    folder: Folder = FOLDER,
    *,
    images: Annotated[int, Parameter(help="Sample photos in the bucket of originals.")] = 300,
    workers: Annotated[int, Parameter(help="Dask workers.")] = WORKERS,
) -> int:
    """Start what is not there."""
    if reason := postgresql.missing():
        print(f"parts: {reason}")
        return 2
    plant = Plant(folder.resolve(), workers)
    started = plant.up()
    photos.fill(plant.store, images)
    config, environment = plant.folder / "fwd2bot.toml", plant.folder / "environment"
    if not config.exists():
        plant.write_settings(
            config, COLLECTION, archive="plant-1", ledger="ledger", night={"cron": "0 1 * * *"}
        )
    lines = [f"export {name}={shlex.quote(value)}" for name, value in plant.variables.items()]
    write_for_me(environment, "\n".join([*lines, f"export FWD2BOT_CONFIG={shlex.quote(str(config))}"]) + "\n")
    plant.deploy(config)
    _tell(plant, started)
    print(f"""
a night on these parts, and its schedule (already registered):
  . {shlex.quote(str(environment))}      # variables with credentials; for you alone
  fwd2bot doctor
  fwd2bot night
  fwd2bot deploy --dry-run
Prefect's pages: {plant.prefect.address}   user and password: PREFECT_API_AUTH_STRING""")
    return 0


@app.command
def status(folder: Folder = FOLDER) -> int:
    """What is there; exit code 1 if something is not."""
    plant = _there(folder)
    if plant is None:
        return 1
    _tell(plant, [])
    return 0 if all(part.process.lives() for part in plant.parts()) else 1


@app.command
def down(
    folder: Folder = FOLDER,
    *,
    clean: Annotated[bool, Parameter(help="Delete data and secrets, too.", negative="")] = False,
) -> int:
    """Stop exactly what ``up`` started, and what that started."""
    plant = _there(folder)
    if plant is None:
        return 0
    stopped = plant.down(clean=clean)
    print(f"stopped: {', '.join(stopped) or 'nothing was there'}")
    return 0


def _there(folder: Path) -> Plant | None:
    """The plant of a folder, with as many workers as have left a trace there."""
    if not (folder / "kept.json").exists():
        print(f"parts: nothing was ever started in {folder}")
        return None
    workers = len(list((folder / "dask").glob("worker-*.log")))
    return Plant(folder.resolve(), workers)


def _tell(plant: Plant, started: list[str]) -> None:
    for part in plant.parts():
        found, name = part.process.found(), part.process.name
        state = f"pid {found.pid}" if found else "not there"
        print(f"{name:15} {state:12} {part.address}{'   started' if name in started else ''}")


if __name__ == "__main__":
    raise SystemExit(app())

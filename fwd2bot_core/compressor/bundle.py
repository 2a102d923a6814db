"""A compressor on disk: data, never code, and nothing of it parsed before its hash is right.

    manifest.json          names, sizes and hashes of all below, and the fingerprint
    compressor.json        the method's settings              model.json           the architecture
    model.safetensors      the LVLM's weights                 tokenizer.json       its words
    adapters.safetensors   both stages' pairs, summary tokens probes.json    pictures and answers; questions
    and documents: MODEL_CARD.md, evaluation.json, plots

Knows files. Knows nothing of how a compressor computes. ``read_spec`` imports neither torch nor transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fwd2bot_core.compressor import manifest
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.probes import Probe, self_check
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.compressor.view import BUNDLES_OWN, View
from fwd2bot_core.errors import BundleInvalid, CompressorError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from fwd2bot_core.compressor.decode import DecodeLimits
    from fwd2bot_core.compressor.double_forward import DoubleForward
    from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor

__all__ = ["add_files", "load_bundle", "read_spec", "save_bundle", "self_check"]

SHIPPED = {"nano": Path(__file__).parent / "nano" / "bundle"}
METHOD, MODEL, WORDS = "compressor.json", "model.json", "tokenizer.json"
WEIGHTS, ADAPTERS, PROBES = "model.safetensors", "adapters.safetensors", "probes.json"
PARTS = (METHOD, MODEL, WORDS, WEIGHTS, ADAPTERS, PROBES)


def locate(path_or_name: str | Path) -> Path:
    """The folder of a bundle: of one that ships, by name, or the folder itself."""
    return SHIPPED.get(str(path_or_name), Path(path_or_name).expanduser())


def read_spec(path_or_name: str | Path, view: View = BUNDLES_OWN) -> CompressorSpec:
    """What a bundle's compressor is under ``view``, from its small files alone; raises as ``load_bundle`` does, but for
    a size that the vision tower refuses."""
    folder = locate(path_or_name)
    listed = manifest.read(folder)
    method, model = (
        _parsed(folder, name, manifest.content(folder, listed, name)) for name in (METHOD, MODEL)
    )
    return _spec(folder, listed, Method.from_json(method), model, view)


def load_bundle(
    path_or_name: str | Path,
    *,
    view: View = BUNDLES_OWN,
    device: str = "cpu",
    limits: DecodeLimits | None = None,
    trainable: bool = False,
) -> Fwd2BotCompressor:
    """The compressor of a bundle, ready for use, looking at photos through ``view``; ``trainable``: with its pairs
    apart from the weights, whatever its method says of merging.

    Raises ``CompressorError`` when there is no bundle, ``BundleInvalid`` (naming the file) when it is not
    what its manifest says, ``UsageError`` when it cannot serve the view.
    """
    from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
    from fwd2bot_core.compressor.weights import assemble

    folder = locate(path_or_name)
    listed = manifest.read(folder)
    files = {name: manifest.content(folder, listed, name) for name in listed.files}
    if missing := sorted(set(PARTS) - set(files)):
        raise BundleInvalid(f"{folder} is incomplete, its manifest lists no {missing[0]}: {manifest.REPAIR}")
    method = Method.from_json(_parsed(folder, METHOD, files[METHOD]))
    model = _parsed(folder, MODEL, files[MODEL])
    own = _spec(folder, listed, method, model)
    method.settled(view)  # an impossible view is refused before the weights are read into a model
    try:
        net, tokenizer = assemble(
            replace(method, merged=False) if trainable else method,
            model,
            words=files[WORDS],
            weights=files[WEIGHTS],
            adapters=files[ADAPTERS],
        )
        probed = _parsed(folder, PROBES, files[PROBES])
        probes = [Probe.from_json(found) for found in probed["probes"]]
        asked = [str(question) for question in probed.get("fidelity_probes", ())]
    except CompressorError:
        raise
    except Exception as error:  # whatever torch, transformers and tokenizers say of parts that do not fit
        said = " ".join(str(error).split())
        raise BundleInvalid(
            f"the parts of {folder} do not fit together ({said}): {manifest.REPAIR}"
        ) from error
    return Fwd2BotCompressor(
        net.to(device),
        tokenizer,
        method,
        own.fingerprint,
        probes=probes,
        fidelity_probes=asked,
        limits=limits,
        view=view,
    )


def save_bundle(
    folder: Path,
    net: DoubleForward,
    tokenizer: Tokenizer,
    method: Method,
    *,
    documents: Mapping[str, bytes] | None = None,
) -> str:
    """Write a compressor that is not merged, without probes yet (``add_files``); returns its fingerprint."""
    from fwd2bot_core.compressor.weights import disassemble

    folder.mkdir(parents=True, exist_ok=True)
    model, weights, adapters = disassemble(net)
    files = {
        METHOD: manifest.canonical(method.as_json()),
        MODEL: manifest.canonical(model),
        WORDS: tokenizer.to_str(pretty=True).encode(),
        WEIGHTS: weights,
        ADAPTERS: adapters,
        PROBES: manifest.canonical({"probes": []}),
        **(documents or {}),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return seal(folder, files)


def add_files(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write probes or documents into a bundle and seal it again; returns its fingerprint, which stays."""
    listed = manifest.read(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return seal(folder, {**listed.files, **files})


def seal(folder: Path, names: Mapping[str, Any]) -> str:
    """Hash the named files of ``folder`` into a new manifest; returns the fingerprint."""
    hashes = {
        name: manifest.sha256((folder / name).read_bytes()) for name in (WEIGHTS, ADAPTERS, MODEL, WORDS)
    }
    made = fingerprint(Method.from_json(json.loads((folder / METHOD).read_bytes())), hashes)
    manifest.write(folder, sorted(names), made)
    return made


def fingerprint(method: Method, hashes: Mapping[str, str]) -> str:
    """sha256 over all that changes tokens: weights, adapters, architecture, words, the method's settings."""
    parts = {name: hashes[name] for name in (WEIGHTS, ADAPTERS, MODEL, WORDS)}
    whole = {"format": manifest.FORMAT, "method": method.what_changes_tokens(), "parts": parts}
    return manifest.sha256(manifest.canonical(whole))


def _spec(
    folder: Path,
    listed: manifest.Manifest,
    method: Method,
    model: Mapping[str, Any],
    view: View = BUNDLES_OWN,
) -> CompressorSpec:
    """The spec, after making sure that the manifest's fingerprint is the one of its files."""
    try:
        found = fingerprint(method, {name: entry.sha256 for name, entry in listed.files.items()})
        width = int(model["text_config"]["hidden_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleInvalid(f"{folder} is incomplete ({error}): {manifest.REPAIR}") from error
    if found != listed.fingerprint:
        raise BundleInvalid(f"{folder / manifest.NAME} claims a fingerprint it has not: {manifest.REPAIR}")
    return method.spec(found, width, view)


def _parsed(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleInvalid(f"{folder / name} is no JSON: {manifest.REPAIR}") from error
    if not isinstance(found, dict):
        raise BundleInvalid(f"{folder / name} holds no settings: {manifest.REPAIR}")
    return found

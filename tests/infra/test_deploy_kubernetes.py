"""The Kubernetes manifests: rendered by kubectl, held against the settings, our own command lines, and each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.settings import load_settings
from tests.infra.test_deploy_files import as_printed, example

KUBERNETES = Path(__file__).parents[2] / "infra" / "deploy" / "kubernetes"
SETTINGS = KUBERNETES / "base" / "fwd2bot.toml"
VERSIONS = {
    "Namespace": "v1", "ConfigMap": "v1", "Service": "v1", "Secret": "v1", "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1", "CronJob": "batch/v1", "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}  # fmt: skip
WAYS = ("prefect", "cronjobs")
CERTIFICATES = {f"dask-{role}-tls" for role in ("scheduler", "worker", "client")}

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kustomize(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def rendered(way: str) -> tuple[dict[str, Any], ...]:
    return tuple(kustomize(KUBERNETES / way))


def secrets() -> dict[str, dict[str, str]]:
    """Names and contents of the template's Secrets."""
    documents = yaml.safe_load_all((KUBERNETES / "secrets.example.yaml").read_text())
    return {one["metadata"]["name"]: one["stringData"] for one in documents}


def pods(way: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, metadata, spec) of each pod that a document starts."""
    for one in rendered(way):
        spec = one.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield one["metadata"]["name"], template["metadata"], template["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What its process sees, as the template fills the Secrets in."""
    given = {one["name"]: one["value"] for one in container.get("env", [])}
    for one in container.get("envFrom", []):
        given |= secrets()[one["secretRef"]["name"]]
    return given


def container(way: str, name: str, inner: str) -> dict[str, Any]:
    return next(
        one for pod, _, spec in pods(way) for one in containers(spec) if (pod, one["name"]) == (name, inner)
    )


@pytest.mark.parametrize("way", WAYS)
def test_every_document_is_of_a_kind_and_version_that_we_know(way: str) -> None:
    for one in rendered(way):
        assert VERSIONS[one["kind"]] == one["apiVersion"]
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "fwd2bot"
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(way)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("way", WAYS)
def test_what_a_pod_names_is_there(way: str) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered(way)}
    for name, _, pod in pods(way):
        mounted = {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, name
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
            if "secret" in volume:
                assert volume["secret"]["secretName"] in CERTIFICATES, name
                assert volume["secret"]["defaultMode"] == 0o440, name  # a key that others can read is refused
        for one in containers(pod):
            assert {mount["name"] for mount in one["volumeMounts"]} <= mounted, name
            assert {ref["secretRef"]["name"] for ref in one.get("envFrom", [])} <= secrets().keys(), name


@pytest.mark.parametrize("way", WAYS)
def test_no_pod_can_do_more_than_it_must(way: str) -> None:
    for name, _, pod in pods(way):
        as_user = pod["securityContext"]
        assert (as_user["runAsNonRoot"], as_user["runAsUser"], as_user["fsGroup"]) == (True, 10001, 10001), (
            name
        )
        assert as_user["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        state = any("persistentVolumeClaim" in volume for volume in pod["volumes"])
        assert not state or as_user["fsGroupChangePolicy"] == "OnRootMismatch", name
        for one in containers(pod):
            limits = one["securityContext"]
            assert limits["readOnlyRootFilesystem"] is True, name
            assert limits["allowPrivilegeEscalation"] is False, name
            assert limits["capabilities"] == {"drop": ["ALL"]}, name
            assert one["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in one["resources"]["limits"], name
            writable = {mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")}
            assert writable == {"/tmp", "/var/lib/fwd2bot"}, name


@pytest.mark.parametrize(
    ("way", "pod", "inner"),
    [("prefect", "prefect-worker", "worker"), ("cronjobs", "night-line-1", "fwd2bot")],
)
def test_variables_and_file_are_settings(
    way: str, pod: str, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = container(way, pod, inner)
    for name, value in environment(driver).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FWD2BOT_CONFIG", str(SETTINGS))
    settings = load_settings()
    for s3 in (settings.archive.s3, settings.collection("line-1")[1].s3):
        assert s3.credentials() is not None
        assert {s3.access_key_id_env, s3.secret_access_key_env} <= environment(
            container(way, "dask-worker", "worker")
        ).keys()
    scheduler, port = settings.execution.executor.removeprefix("tls://").split(":")
    service = next(
        one for one in rendered(way) if (one["kind"], one["metadata"]["name"]) == ("Service", scheduler)
    )
    assert [one["port"] for one in service["spec"]["ports"]] == [int(port)]
    workers = next(one for one in rendered(way) if one["metadata"]["name"] == "dask-worker" and "spec" in one)
    assert workers["spec"]["replicas"] == settings.execution.workers
    places = {mount["mountPath"] for mount in driver["volumeMounts"]}
    assert {settings.execution.certificates, str(Path(settings.audit.key).parent)} <= places
    config = next(one for one in rendered(way) if one["kind"] == "ConfigMap")
    assert tomllib.loads(config["data"]["fwd2bot.toml"]) == tomllib.loads(SETTINGS.read_text())


def test_the_buckets_are_those_of_the_policies() -> None:
    settings = load_settings(SETTINGS)
    for location, policy in (
        (settings.archive.store, "s3-policy-archive.json"),
        (settings.collection("line-1")[1].originals, "s3-policy-originals.json"),
    ):
        bucket = location.removeprefix("s3://").split("/")[0]
        assert f'"arn:aws:s3:::{bucket}/*"' in (KUBERNETES.parent / policy).read_text()


def words(made: dict[str, Any]) -> list[str]:
    """The command line, written as ours is printed: without ``=`` between an option and its value."""
    return [*made["command"], *(word for part in made["args"] for word in part.split("=", 1))]


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_dask_starts_as_our_command_says(role: str) -> None:
    made = container("prefect", f"dask-{role}", role)
    assert words(made) == as_printed("/certs", "dask-scheduler")[role]
    assert environment(made)["DASK_CONFIG"] == "/certs/dask.yaml"


def test_with_gpus_each_worker_has_one(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    with (tmp_path / "kubernetes" / "prefect" / "kustomization.yaml").open("a") as file:
        file.write("components: [../gpu]\n")
    worker = next(
        one["spec"]["template"]["spec"]
        for one in kustomize(tmp_path / "kubernetes" / "prefect")
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "dask-worker")
    )
    [made] = worker["containers"]
    assert made["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert made["image"] == "fwd2bot:cuda"
    assert words(made) == as_printed("/certs", "dask-scheduler")["gpu_worker"]


def test_a_cron_job_is_the_settings_night() -> None:
    settings = load_settings(SETTINGS)
    jobs = {one["metadata"]["name"]: one["spec"] for one in rendered("cronjobs") if one["kind"] == "CronJob"}
    assert jobs.keys() == {"audit", *(f"night-{name}" for name in settings.collections)}
    for name, schedule in (("night-line-1", settings.night.cron), ("audit", settings.audit.cron)):
        assert (jobs[name]["schedule"], jobs[name]["timeZone"]) == (schedule, settings.night.zone)
        assert jobs[name]["concurrencyPolicy"] == "Forbid"
        assert jobs[name]["jobTemplate"]["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize("way", WAYS)
def test_every_pod_has_a_policy_and_speaks_to_who_hears_it(way: str) -> None:
    """Nothing comes in by itself; each connection that our parts make is let out here and in there."""
    policies = {
        one["metadata"]["name"]: one["spec"] for one in rendered(way) if one["kind"] == "NetworkPolicy"
    }
    assert policies["nothing-comes-in"]["podSelector"] == {}
    assert "ingress" not in policies["nothing-comes-in"]
    labels = {name: metadata["labels"] for name, metadata, _ in pods(way)}
    for name, own in labels.items():
        assert any(selects(policy, own) for key, policy in policies.items() if key != "nothing-comes-in"), (
            name
        )
    drivers = [name for name, own in labels.items() if own.get("starts") == "nights"]
    wanted = [("dask-worker", "dask-scheduler", 8786), *((name, "dask-scheduler", 8786) for name in drivers)]
    if way == "prefect":
        wanted.append(("prefect-worker", "prefect-server", 4200))
    for source, target, port in wanted:
        assert lets(policies, labels[source], labels[target], port, "egress", "to"), (source, target)
        assert lets(policies, labels[target], labels[source], port, "ingress", "from"), (source, target)
    strangers = {"app": "stranger"}
    for own in labels.values():
        assert not lets(policies, own, strangers, 8786, "ingress", "from")


def selects(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    return policy["podSelector"].get("matchLabels", {}).items() <= labels.items()


def lets(
    policies: dict[str, Any], own: dict[str, str], other: dict[str, str], port: int, way: str, end: str
) -> bool:
    """Whether a rule of a policy of ``own`` names ``other`` and the port."""
    return any(
        peer["podSelector"]["matchLabels"].items() <= other.items()
        for policy in policies.values()
        if selects(policy, own)
        for rule in policy.get(way, [])
        if port in {one["port"] for one in rule.get("ports", [{"port": port}])}
        for peer in rule.get(end, [])
        if "podSelector" in peer
    )


def test_the_secrets_are_those_of_the_other_ways_and_none_has_a_value() -> None:
    given = secrets()
    names = {name for secret in given.values() for name in secret}
    assert names >= {name for name in example("compose.env.example") if re.match("PHOTOS|TOKENS", name)}
    values = {
        value for secret in given.values() for name, value in secret.items() if name != "AWS_DEFAULT_REGION"
    }
    assert all("CHANGE-ME" in value for value in values)

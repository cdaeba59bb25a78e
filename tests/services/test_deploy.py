"""What is shipped to run the service: linted, and held against what the program says of itself."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.docs_shell import parse

from tumorlens.cli import app
from tumorlens.services import lambda_handler
from tumorlens.services.node.routes import read_routes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KIND = "NetworkPolicy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


POD = {"containers", "volumes", "securityContext", "automountServiceAccountToken"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def test_the_images_are_without_findings_of_hadolint():
    linter = shutil.which("hadolint") or str(ROOT / ".venv" / "bin" / "hadolint")
    done = subprocess.run(
        [linter, str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_images_take_only_extras_that_exist_and_no_tensorflow():
    text = (ROOT / "pyproject.toml").read_text()
    extras = set(re.findall(r"--extra (\w+)", DOCKERFILE))
    assert extras == {"service", "postgres", "dashboard", "lambda", "scale", "dicom", "nifti"}
    for extra in extras:
        listed = re.search(rf"^{extra} = \[(.*?)\]\n", text, re.M | re.S)
        assert listed
        assert "tensorflow" not in listed[1]


def test_the_images_run_as_nobody_special():
    stages = DOCKERFILE.split("FROM ")
    assert "USER 10001" in next(stage for stage in stages if "AS run" in stage)


@pytest.mark.parametrize(
    "manifest",
    [*documents("kubernetes/service.yaml"), *documents("kubernetes/node.yaml")],
    ids=lambda row: f"{row['metadata']['name']}-{row['kind']}",
)
def test_a_manifest_is_as_kubernetes_wants_it(manifest: dict[str, Any]):
    import kubernetes_validate

    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_container_of_kserve_is_as_kubernetes_wants_it():
    import kubernetes_validate

    (manifest,) = documents("kubernetes/kserve.yaml")
    predictor = manifest["spec"]["predictor"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "predictor"},
        "spec": {key: value for key, value in predictor.items() if key in POD},
    }
    assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_pods_of_the_job_on_ray_are_as_kubernetes_wants_them():
    import kubernetes_validate

    (manifest,) = documents("kubernetes/rayjob.yaml")
    cluster = manifest["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}} | group["template"]
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_the_commands_of_jobs_are_parsed():
    (manifest,) = documents("kubernetes/rayjob.yaml")
    array = (DEPLOY / "slurm-array.sh").read_text().replace('"${1:?name the job}"', "job")
    for line in (manifest["spec"]["entrypoint"], array.splitlines()[-1].removeprefix("exec ")):
        name, *words = line.split()
        assert name == "tumorlens"
        parse(words)


def test_a_task_of_the_slurm_array_hands_its_job_and_its_environment_on(tmp_path: Path):
    stand_in = tmp_path / "tumorlens"
    stand_in.write_text('#!/bin/sh\necho "$SLURM_ARRAY_TASK_ID:" "$@"; exit 3\n')
    stand_in.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_TASK_ID": "2"}

    def submit(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", DEPLOY / "slurm-array.sh", *words], env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    done = submit("a job")
    assert (done.returncode, done.stdout) == (3, "2: batch run a job --on slurm-array\n")
    assert "name the job" in submit().stderr


@pytest.mark.parametrize(
    "name", ["kubernetes/service.yaml", "kubernetes/kserve.yaml", "kubernetes/node.yaml"]
)
def test_a_container_with_a_read_only_root_has_a_place_for_temporary_files(name: str):
    for manifest in documents(name):
        spec = manifest["spec"].get("predictor") or manifest["spec"].get("template", {}).get("spec")
        for container in (spec or {}).get("containers", ()):
            assert container["securityContext"]["readOnlyRootFilesystem"]
            mounts = {row["mountPath"]: row["name"] for row in container["volumeMounts"]}
            assert mounts["/tmp"] in {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize("name", ["kubernetes/service.yaml", "kubernetes/node.yaml"])
def test_the_network_policy_names_who_may_call_and_who_is_called(name: str):
    (policy,) = [row for row in documents(name) if row["kind"] == KIND]
    spec = policy["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    for rule in spec["ingress"]:
        assert rule["from"]
        assert rule["ports"]
    for rule in spec["egress"]:
        assert rule["to"]
        assert rule["ports"]


def test_every_image_beneath_can_be_named_by_its_digest():
    assert re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.M) == []
    assert "${PYTHON_IMAGE}" in DOCKERFILE
    services = documents("compose.yaml")[0]["services"]
    assert services["postgres"]["image"].startswith("${POSTGRES_IMAGE:-")


def test_what_the_manifests_probe_and_set_exists():
    from tumorlens.services.http.server import create_app
    from tumorlens.settings import Settings

    paths = create_app(Settings(), needs_keys=True).openapi()["paths"]
    texts = [path.read_text() for path in DEPLOY.rglob("*") if path.is_file()]
    for text in texts:
        for path in re.findall(r"path: (/[\w/]+)", text) + re.findall(r":8000(/\w+)", text):
            assert path in paths
        for name in re.findall(r"TUMORLENS_(\w+)", text):
            assert name == "DB_PASSWORD" or name.lower() in vars(Settings())


def test_compose_contains_what_it_starts():
    services = documents("compose.yaml")[0]["services"]
    assert set(services) == {"postgres", "service", "dashboard"}
    for name in ("service", "dashboard"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
        assert f" AS {services[name]['build']['target']}\n" in DOCKERFILE


def test_the_handler_that_the_image_names_is_there():
    assert "tumorlens.services.lambda_handler.handler" in DOCKERFILE
    assert callable(lambda_handler.handler)


def test_the_commands_that_the_images_run_exist():
    import typer

    commands = typer.main.get_command(app).commands
    for command in re.findall(r'^CMD \["(\w+)", "--host"', DOCKERFILE, re.M):
        assert command in commands


def test_the_pacs_of_the_trial_is_open_to_this_machine_alone_and_asks_for_a_password():
    (compose,) = documents("compose.orthanc.yaml")
    service = compose["services"]["orthanc"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["environment"]["ORTHANC_PASSWORD"].startswith("${ORTHANC_PASSWORD:?")
    assert set(service["networks"]) <= set(documents("compose.yaml")[0]["networks"])
    settings = json.loads((DEPLOY / "orthanc.json").read_text())
    assert settings["AuthenticationEnabled"]
    assert settings["RegisteredUsers"] == {"tumorlens": "${ORTHANC_PASSWORD}"}
    assert not settings["OverwriteInstances"]
    for port in (settings["HttpPort"], settings["DicomPort"]):
        assert f"127.0.0.1:{port}:{port}" in service["ports"]


def test_the_nodes_that_are_shipped_start_with_words_that_the_command_knows():
    import typer

    (compose,) = documents("compose.orthanc.yaml")
    kubernetes = documents("kubernetes/node.yaml")[0]["spec"]["template"]["spec"]["containers"]
    node = typer.main.get_command(app).commands["dicom"].commands["node"]
    known = {option for parameter in node.params for option in parameter.opts}
    for words in (compose["services"]["node"]["command"], kubernetes[0]["args"]):
        assert words[:2] == ["dicom", "node"]
        assert {word.partition("=")[0] for word in words[3:]} <= known
    routes = read_routes(DEPLOY / "routes.toml")
    assert [str(to) for route in routes for to in route.to] == ["ORTHANC@orthanc:4242"]

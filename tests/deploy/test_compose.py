"""The compose files: valid by the compose specification, nothing open, nothing unpinned, no password."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from driftline.cli.main import app
from tests.deploy.composition import FILES, OUR_IMAGE, ROOT, our_services, read, words

_SPECIFICATION = "github.com/compose-spec/compose-go/v2@v2.10.1"
_DIGEST = re.compile(r"[a-z/-]+:[\w.-]*\d[\w.-]*@sha256:[0-9a-f]{64}")
SERVICES = read()["services"]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The specification's JSON schema, from the Go module that docker compose itself reads files with."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("no JSON schema of the compose specification: Go is not installed")
    command = [go, "mod", "download", "-json", _SPECIFICATION]
    done = subprocess.run(command, cwd=tmp_path_factory.mktemp("go"), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"no JSON schema of the compose specification: the module proxy does not answer: {done.stderr}")
    folder = Path(json.loads(done.stdout)["Dir"])
    found: dict[str, Any] = json.loads((folder / "schema" / "compose-spec.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_is_valid_by_the_specification(schema: dict[str, Any], name: str) -> None:
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(read(name))] == []


def test_the_specification_refuses_an_unknown_key(schema: dict[str, Any]) -> None:
    broken = {"services": {"kafka": {"image": "apache/kafka:4.1.1", "restarts": "always"}}}

    (error,) = jsonschema.Draft7Validator(schema).iter_errors(broken)

    assert error.message == "'restarts' does not match any of the regexes: '^x-'"


def test_only_grafana_and_the_preview_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"grafana": ["127.0.0.1:3000:3000"], "preview": ["127.0.0.1:8080:8080"]}
    assert not any("ports" in service for service in read(FILES[1])["services"].values())


def test_whoever_is_not_published_is_in_a_network_that_reaches_nothing() -> None:
    assert read()["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if service["networks"] != ["inside"]}
    assert outside == {"grafana", "preview"}
    assert not any("network_mode" in service for service in SERVICES.values())


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_by_digest_or_built_here(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == OUR_IMAGE if "build" in service else _DIGEST.fullmatch(service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_no_capability_and_no_way_to_write_but_its_volumes(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    mounted = [volume for volume in service.get("volumes", ()) if volume.startswith(("./", "/"))]
    assert all(volume.endswith(":ro") for volume in mounted)
    assert not any("docker.sock" in volume for volume in mounted)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_says_whether_it_is_well_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    if service.get("restart") != "unless-stopped":
        assert service["healthcheck"] == {"disable": True}
    elif "build" in service:
        assert service["environment"]["DRIFTLINE_OPS_PORT"], "the image's HEALTHCHECK asks this port"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


def test_passwords_come_from_files_that_make_secrets_makes_and_from_nowhere_else() -> None:
    for file in FILES:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not re.search(r"://[^/\s@]*:[^/\s@]*@", text), "a password in an address"
        for name, service in read(file)["services"].items():
            for key, value in (service.get("environment") or {}).items():
                secret = re.search(r"PASSWORD|TOKEN|SECRET", key)
                assert not secret or str(value).startswith("/run/secrets/"), f"{name}: {key}"
        for name, secret in read(file)["secrets"].items():
            assert secret == {"file": f"./secrets/{name}"}
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"secrets/", ".env"} <= set(ignored)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_the_secrets_that_it_names_and_no_other(name: str) -> None:
    service = SERVICES[name]
    named = {
        Path(str(value)).name for value in service["environment"].values() if str(value).startswith("/run/secrets")
    }
    read_otherwise = {"clickhouse": {"clickhouse_users"}, "grafana": {"driftline_grafana"}}
    assert set(service.get("secrets", ())) == named | read_otherwise.get(name, set())
    if service.get("secrets"):
        assert service["user"].startswith("${DRIFTLINE_UID:?"), "files of mode 0600 are read by their owner"


@pytest.mark.parametrize("name", our_services())
def test_every_command_is_one_that_driftline_has(name: str) -> None:
    command: Any = typer.main.get_command(app)
    context, rest = None, words(our_services()[name])
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name or "driftline", rest, parent=context)
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(command.name, rest, parent=context)


def test_a_service_waits_for_services_that_exist_and_in_no_circle() -> None:
    waits = {name: set(service.get("depends_on", ())) for name, service in SERVICES.items()}
    started: set[str] = set()
    while len(started) < len(waits):
        ready = {name for name, needed in waits.items() if needed <= started} - started
        assert ready, f"these wait for each other or for nobody: {set(waits) - started}"
        started |= ready


def test_the_tls_variant_changes_only_services_that_exist() -> None:
    changed = read(FILES[1])["services"]
    assert set(changed) <= set(SERVICES)
    talks_to_clickhouse = {name for name, service in SERVICES.items() if "DRIFTLINE_STORE" in service["environment"]}
    assert set(changed) == talks_to_clickhouse | {"clickhouse", "grafana"}
    for name in talks_to_clickhouse:
        plain, secure = (source[name]["environment"]["DRIFTLINE_STORE"] for source in (SERVICES, changed))
        assert secure == plain.replace(":8123/", ":8443/") + "?secure=1&ca=/run/secrets/ca"


def test_files_that_are_mounted_or_copied_exist() -> None:
    mounted = [
        volume.split(":")[0]
        for file in FILES
        for service in read(file)["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sources = [*mounted, *" ".join(copied).split()]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert set(" ".join(copied).split()) == kept, "what the image is built from, and nothing else, reaches the builder"


def test_grafana_finds_the_dashboards_where_its_provider_looks() -> None:
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/driftline.yaml").read_text(encoding="utf-8"))
    (found,) = [volume for volume in SERVICES["grafana"]["volumes"] if volume.startswith("./grafana/dashboards:")]
    assert found == f"./grafana/dashboards:{provider['providers'][0]['options']['path']}:ro"


@pytest.mark.parametrize("folder", ["datasources", "datasources-tls"])
def test_grafana_is_told_all_that_its_data_source_asks_for(folder: str) -> None:
    text = (ROOT / "grafana" / "provisioning" / folder / "clickhouse.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+)\}", text.partition("apiVersion")[2]))
    assert named <= set(SERVICES["grafana"]["environment"])
    files = set(re.findall(r"\$__file\{/run/secrets/(\w+)\}", text))
    extra = read(FILES[1])["services"]["grafana"]["secrets"] if folder.endswith("tls") else []
    assert files <= {*SERVICES["grafana"]["secrets"], *extra}

"""The image of ours: what its build takes exists, and what it installs is whole."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator

from tests.deploy.compose_file import COMPOSE, ROOT, compose_file, mounts


def instructions(word: str) -> Iterator[str]:
    for line in (COMPOSE / "Dockerfile").read_text().splitlines():
        if line.startswith(word):
            yield line


def copied() -> list[str]:
    return [source for line in instructions("COPY") if "--from=" not in line for source in shlex.split(line)[1:-1]]


def test_the_image_is_built_from_files_that_are_there_and_not_ignored():
    kept = {line[1:] for line in (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {source for source in copied() if not (ROOT / source).exists()} == set()
    assert set(copied()) == kept


def test_what_the_wheel_is_made_of_is_in_the_image_before_it_is_built():
    """What `uv sync --no-editable` reads: metadata, packages, the hook, and what the hook packs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = re.search(r"FOLDERS = \((.*)\)", (ROOT / "hatch_build.py").read_text())
    assert folders is not None
    packed = ast.literal_eval(folders[0].partition(" = ")[2])
    needed = {"pyproject.toml", "uv.lock", "hatch_build.py", project["project"]["readme"], *wheel["packages"], *packed}

    assert "custom" in wheel["hooks"]
    assert needed <= set(copied())


def test_the_servers_are_unpacked_from_where_the_wheel_has_them_to_where_python_looks():
    text = (COMPOSE / "Dockerfile").read_text()

    assert "python3.11/site-packages/penstock/_services.zip /opt/penstock/servers" in text
    assert "PYTHONPATH=/opt/penstock/servers" in text
    assert '"penstock/_services.zip"' in (ROOT / "hatch_build.py").read_text()


def test_the_image_has_the_uv_of_the_setup_and_the_lock():
    pinned = re.search(r"UV_PINNED=(\S+)", (ROOT / "deploy" / "setup" / "bootstrap.sh").read_text())
    assert pinned is not None
    runs = list(instructions("RUN uv sync"))

    assert f"uv=={pinned[1]}" in (COMPOSE / "Dockerfile").read_text()
    assert runs
    assert [line for line in runs if "--locked" not in line or "--extra mesh" not in line] == []


def test_both_stages_begin_at_one_pinned_image_and_the_last_is_nobody_special():
    bases = [line.split()[1] for line in instructions("FROM")]

    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", bases[0])
    assert list(instructions("USER")) == ["USER penstock"]
    assert "--uid 10001" in (COMPOSE / "Dockerfile").read_text()


def test_volumes_are_mounted_where_the_image_has_a_folder_of_its_user():
    text = (COMPOSE / "Dockerfile").read_text()
    made = set(re.findall(r"(/var/lib/penstock(?:/\w+)?)(?=\s)", text[text.index("install -d") : text.index("COPY --from")]))
    ours = [service for service in compose_file()["services"].values() if service["image"] == "penstock:local"]
    mounted = {target for service in ours for source, target, _ in mounts(service) if not source.startswith(".")}

    assert mounted
    assert mounted <= made

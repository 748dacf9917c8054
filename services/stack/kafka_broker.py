"""Kafka: a KRaft node that is broker and controller, run by Java from the jars that Maven copies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path

from services.chassis.atomic_file import write_atomically
from services.chassis.child import ChildSpec
from services.stack.commands import BUILD_NICE, Step, finish
from services.stack.free_ports import Ports
from services.stack.kafka_java import CLASSES, QUICK_COMPILER, Java, classes_artefact, find_java, java_command
from services.stack.probes import kafka_answers
from services.stack.recipe import HOST, Found, Site, Sources, Tool, server_spec
from services.stack.server_cache import Artefact
from services.stack.versions import deploy_folder, wanted

FETCH_SECONDS = 900.0
FORMAT_SECONDS = 60.0
HEAP = ("-Xms256m", "-Xmx512m")

MAVEN = Tool(program="mvn", wanted="Maven, which downloads it", command="apt-get install maven")


class Kafka:
    """A single broker whose topics outlive a restart."""

    name = "kafka"
    address = ""
    ports = ("kafka", "kafka-controller")
    stop_seconds = 20.0

    async def find(self, sources: Sources) -> Found:
        """Find Java, and copy the jars by Maven where the cache does not hold them."""
        asked = wanted(self.name)
        version, java = asked["version"], await find_java(int(asked["oldest_java"]))

        async def copy(folder: Path) -> None:
            await finish(_maven(sources, version, folder))

        jars, origin = await sources.obtain(Artefact(name=self.name, version=f"{version}-{_pom_key()}", fill=copy), self.name, MAVEN)
        programs = {"java": java.program, "jars": str(jars)}
        found = Found(origin=origin, version=version, programs=programs)
        classes = await self._classes(found, java, sources)
        return replace(found, programs={**programs, "classes": str(classes)}) if classes else found

    async def _classes(self, found: Found, java: Java, sources: Sources) -> Path | None:
        """Return the file of classes, written first where it is missing; None where there is none."""
        with tempfile.TemporaryDirectory(prefix="penstock-kafka-", ignore_cleanup_errors=True) as scratch:
            ports = Ports(Path(scratch) / "ports.json", {}, sources.say).take(self.ports)
            site = Site(folder=Path(scratch), log=sources.logs / "build-kafka.log", ports=ports)

            def start(file: Path) -> ChildSpec:
                return server_spec(self.name, site, self._command(found, site, f"-XX:ArchiveClassesAtExit={file}"))

            artefact = classes_artefact(f"{found.version}-{_pom_key()}", java, start, lambda: self.answers(HOST, ports[self.name]))
            if not sources.cache.holds(artefact) and sources.may_fetch:
                sources.say("recording Kafka's classes, which makes it start in half the time (once a version of Java)")
                await self.prepare(found, site)
            elif not sources.may_fetch:
                return None
            file = await sources.cache.obtain(artefact) / CLASSES
        return file if await asyncio.to_thread(file.exists) else None

    async def prepare(self, found: Found, site: Site) -> None:
        """Write the settings and format the storage; a storage that is formatted already stays as it is."""
        write_atomically(_settings_path(site), _settings(site).encode())
        formatted = site.folder / "formatted"
        if formatted.exists():
            return
        words = ("format", "--cluster-id", _new_cluster_id(), "--config", str(_settings_path(site)), "--standalone", "--ignore-formatted")
        java = java_command(found.programs["java"], found.programs["jars"], QUICK_COMPILER, *_shared(found))
        command = (*java, "kafka.tools.StorageTool", *words)
        await finish(Step(what="formatting Kafka's storage", command=command, log=site.log, seconds=FORMAT_SECONDS))
        formatted.touch()

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command."""
        return server_spec(self.name, site, self._command(found, site, *_shared(found)))

    def _command(self, found: Found, site: Site, *options: str) -> tuple[str, ...]:
        java = java_command(found.programs["java"], found.programs["jars"], *HEAP, *options)
        return (*java, "kafka.Kafka", str(_settings_path(site)))

    async def answers(self, host: str, port: int) -> None:
        """Ask for metadata."""
        await kafka_answers(host, port)


def _shared(found: Found) -> tuple[str, ...]:
    classes = found.programs.get("classes")
    return (f"-XX:SharedArchiveFile={classes}",) if classes else ()


def _pom_key() -> str:
    return hashlib.sha256((deploy_folder() / "kafka" / "pom.xml").read_bytes()).hexdigest()[:8]


def _maven(sources: Sources, version: str, folder: Path) -> Step:
    sources.say(f"downloading Kafka {version} from Maven Central (43 MB, once)")
    pom = deploy_folder() / "kafka" / "pom.xml"
    # --strict-checksums: a download that differs from its published digest is an error and not a warning.
    options = ("--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom), f"-Dkafka.version={version}")
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
    return Step(
        what=f"downloading Kafka {version}",
        command=(MAVEN.program, *options, *goal),
        log=sources.logs / "build-kafka.log",
        seconds=FETCH_SECONDS,
        nice=BUILD_NICE,
    )


def _settings_path(site: Site) -> Path:
    return site.folder / "server.properties"


def _settings(site: Site) -> str:
    broker, controller = (f"{HOST}:{site.ports[name]}" for name in Kafka.ports)
    lines = (
        f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}",
        f"advertised.listeners=PLAINTEXT://{broker}",
        # Not controller.quorum.voters: `format --standalone` makes a quorum that can change, and the two exclude each other.
        f"controller.quorum.bootstrap.servers={controller}",
        f"log.dirs={site.folder / 'log'}",
    )
    return (deploy_folder() / "kafka" / "server.properties").read_text(encoding="utf-8") + "\n".join(lines) + "\n"


def _new_cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # it would be read as an option
            return text

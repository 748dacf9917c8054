"""Kafka: a KRaft node that is broker and controller, run by Java from the jars that Maven copies."""

from __future__ import annotations

import base64
import os
import shutil
import uuid
from pathlib import Path

from services.chassis.atomic_file import write_atomically
from services.chassis.child import ChildSpec
from services.stack.commands import BUILD_NICE, Step, answer_of, finish
from services.stack.probes import kafka_answers
from services.stack.recipe import HOST, Found, MissingTool, Site, Sources, Tool, server_spec
from services.stack.server_cache import Artefact
from services.stack.versions import deploy_folder, version_in, wanted

FETCH_SECONDS = 900.0
FORMAT_SECONDS = 60.0
HEAP = ("-Xms256m", "-Xmx512m")
JVM = ("-XX:+UseSerialGC", "-Djava.awt.headless=true")
LOG_LEVELS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)

MAVEN = Tool(program="mvn", wanted="Maven, which downloads it", command="apt-get install maven")


class Kafka:
    """A single broker whose topics outlive a restart."""

    name = "kafka"
    ports = ("kafka", "kafka-controller")
    stop_seconds = 20.0

    async def find(self, sources: Sources) -> Found:
        """Find Java, and copy the jars by Maven where the cache does not hold them."""
        asked = wanted(self.name)
        java = await _java(int(asked["oldest_java"]))
        version = asked["version"]

        async def copy(folder: Path) -> None:
            await finish(_maven(sources, version, folder))

        jars, origin = await sources.obtain(Artefact(name=self.name, version=version, fill=copy), self.name, MAVEN)
        return Found(origin=origin, version=version, programs={"java": java, "jars": str(jars)})

    async def prepare(self, found: Found, site: Site) -> None:
        """Write the settings and format the storage; a storage that is formatted already stays as it is."""
        write_atomically(_settings_path(site), _settings(site).encode())
        formatted = site.folder / "formatted"
        if formatted.exists():
            return
        words = ("format", "--cluster-id", _new_cluster_id(), "--config", str(_settings_path(site)), "--standalone", "--ignore-formatted")
        # The compiler that is quick to start: this runs for a second.
        command = (*_java_command(found, "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", *words)
        await finish(Step(what="formatting Kafka's storage", command=command, log=site.log, seconds=FORMAT_SECONDS))
        formatted.touch()

    def spec(self, found: Found, site: Site) -> ChildSpec:
        """Return the command."""
        command = (*_java_command(found, *HEAP), "kafka.Kafka", str(_settings_path(site)))
        return server_spec(self.name, site, command)

    async def answers(self, host: str, port: int) -> None:
        """Ask for metadata."""
        await kafka_answers(host, port)


async def _java(oldest: int) -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    version = version_in(await answer_of(java, "-version") if java else "", r'version "(\d+)')
    if java is None or version is None or int(version) < oldest:
        raise MissingTool("kafka", f"Java {oldest} or newer", f"apt-get install openjdk-{oldest}-jre-headless")
    return java


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


def _java_command(found: Found, *options: str) -> tuple[str, ...]:
    # The star is for the Java machine to expand.
    return (found.programs["java"], *options, *JVM, *LOG_LEVELS, "-cp", f"{found.programs['jars']}/*")


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

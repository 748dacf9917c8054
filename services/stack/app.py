"""`penstock up`: constructors in opening order; leaving closes in the mirror of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from penstock.contracts.topics import TOPICS
from services.chassis.clock import SystemClock
from services.chassis.entry import Start
from services.chassis.private_folder import locked, make_private
from services.chassis.process import Hooks
from services.stack.board import Board, State
from services.stack.free_ports import Ports
from services.stack.recipe import Sources
from services.stack.recipes import RECIPES
from services.stack.server_cache import ServerCache
from services.stack.servers import Servers, Surroundings
from services.stack.settings import StackSettings
from services.stack.topic_catalogue import make_topics


@asynccontextmanager
async def up(start: Start[StackSettings]) -> AsyncGenerator[Hooks]:
    """Run the stack while the block lasts."""
    settings = start.config.current
    async with AsyncExitStack() as stack:
        make_private(settings.state_dir)
        stack.enter_context(locked(settings.state_dir, "up"))
        board = Board(settings.state_dir, settings.name)
        recipes = [recipe for recipe in RECIPES if recipe.name in settings.servers]
        board.expect(*(recipe.name for recipe in recipes))
        servers = Servers(surroundings(settings, board))
        found = await servers.find_all(recipes)
        stack.callback(board.become, State.STOPPED)
        for recipe, where in zip(recipes, found, strict=True):
            address = await stack.enter_async_context(servers.running(recipe, where))
            if recipe.name == "kafka" and (made := await make_topics(address, TOPICS)):
                board.say(f"{made} topics made")
        stack.callback(board.become, State.STOPPING)
        board.become(State.READY)
        yield Hooks(abandon=servers.abandon)


def surroundings(settings: StackSettings, board: Board) -> Surroundings:
    """Return what the servers of a stack share."""
    logs = settings.state_dir / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    return Surroundings(
        folder=settings.state_dir,
        board=board,
        ports=Ports(settings.state_dir / "ports.json", settings.ports, board.say),
        sources=Sources(cache=ServerCache(settings.cache_dir, board.say), logs=logs, say=board.say),
        clock=SystemClock(),
        addresses=settings.addresses,
        start_seconds=settings.start_seconds,
    )

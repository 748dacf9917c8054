"""Every kind of server, in the order in which they are started; they are stopped in the mirror of it."""

from __future__ import annotations

from services.stack.kafka_broker import Kafka
from services.stack.postgres_database import Postgres
from services.stack.recipe import Recipe
from services.stack.redis_store import Redis
from services.stack.temporal_cluster import Temporal

RECIPES: tuple[Recipe, ...] = (Redis(), Postgres(), Kafka(), Temporal())

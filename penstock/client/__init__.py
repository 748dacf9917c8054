"""Clients for programs: `Client` for threads, `AsyncClient` for asyncio; numpy arrays or plain lists in, numpy arrays out."""

from __future__ import annotations

from penstock.client.aio import AsyncClient
from penstock.client.options import ClientOptions
from penstock.client.prediction import Prediction
from penstock.client.sync import Client

__all__ = ["AsyncClient", "Client", "ClientOptions", "Prediction"]

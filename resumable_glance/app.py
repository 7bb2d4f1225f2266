"""The composition root: settings in, parts chosen and wired, ASGI application out.

The only place that knows which scratch, sink and gate there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from oslo_config import cfg
from starlette.applications import Starlette
from starlette.types import ASGIApp

from resumable_glance import server
from resumable_glance.auth import Gate
from resumable_glance.auth.ticket import TicketGate
from resumable_glance.auth.trusts import Trusts
from resumable_glance.auth.vault import Vault
from resumable_glance.catalog import Catalog
from resumable_glance.clock import SteadyClock
from resumable_glance.config import Settings
from resumable_glance.handoff import Handoff
from resumable_glance.health import Health
from resumable_glance.scratch.local import LocalScratch
from resumable_glance.sinks import Sink
from resumable_glance.uploads import Uploads

LOG = logging.getLogger(__name__)
TIDY_INTERVAL = 60  # seconds
BREAKING_OFF = 5  # seconds for handoffs at a stop: one that waits for a hung Glance is left where it is


@dataclass(frozen=True)
class Service:
    """The application, and what a stop needs to reach."""

    asgi: ASGIApp
    uploads: Uploads


def build(
    settings: Settings, conf: cfg.ConfigOpts, gate: Gate | None = None, clock: Callable[[], float] | None = None
) -> Service:
    """Open everything. `gate` is another one than the settings name, `clock` gives seconds since the epoch.

    Raises OSError, scratch.local.InUse, database.NewerCatalog, vault.BadKeyFile and what keystoneauth1 raises for
    options that are missing: each says in a sentence what is wrong.
    """
    scratch = LocalScratch(settings.scratch_directory)
    catalog = Catalog(settings.database)
    vault = Vault(settings.key_file)
    usual_gate, sink = gate_and_sink(settings, conf)
    clock = clock or SteadyClock()
    trusts = _trusts(settings, conf)
    handoff = Handoff(catalog, scratch, sink, vault, settings, clock, trusts=trusts)
    uploads = Uploads(settings, catalog, scratch, sink, vault, handoff, clock, trusts)
    gate = TicketGate(uploads.tickets, gate or usual_gate)
    health = Health(
        {
            "scratch": scratch.check,
            "space": uploads.check,
            "catalog": catalog.check,
            "identity": gate.check,
            "images": sink.check,
        }
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await uploads.janitor.open()
        jobs = [asyncio.create_task(handoff.run()), asyncio.create_task(_tidy(uploads))]
        try:
            yield
        finally:
            await uploads.close()
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs, timeout=BREAKING_OFF)
            catalog.close()
            scratch.close()

    return Service(server.application(settings, gate, uploads, health, lifespan), uploads)


def gate_and_sink(settings: Settings, conf: cfg.ConfigOpts) -> tuple[Gate, Sink]:
    """Whom to let in, and where images go."""
    if settings.auth_strategy == "noauth":
        from resumable_glance.auth.anyone import AnyoneGate
        from resumable_glance.sinks.directory import DirectorySink

        return AnyoneGate(), DirectorySink(settings.sink_directory)
    from resumable_glance.auth.keystone import KeystoneGate, service_session
    from resumable_glance.policies import Policy

    session = service_session(conf)
    gate = KeystoneGate(session, settings.token_cache_time, rights=Policy(conf).rights)
    if settings.sink == "directory":
        from resumable_glance.sinks.directory import DirectorySink

        return gate, DirectorySink(settings.sink_directory)
    from resumable_glance.sinks.glance import GlanceSink

    return gate, GlanceSink(conf, session, settings.handoff_workers + settings.follow_workers, settings.saving_time)


def _trusts(settings: Settings, conf: cfg.ConfigOpts) -> Trusts | None:
    """Where owners let us act for them, if they shall."""
    if not settings.trusts or settings.auth_strategy == "noauth":
        return None
    from resumable_glance.auth.keystone import service_session
    from resumable_glance.auth.trusts import KeystoneTrusts

    return KeystoneTrusts(conf, service_session(conf), settings.trust_lifetime)


async def _tidy(uploads: Uploads) -> None:
    while True:
        try:
            await uploads.janitor.tidy()
        except Exception:
            LOG.exception("tidying up met a defect of ours")
        await asyncio.sleep(TIDY_INTERVAL)

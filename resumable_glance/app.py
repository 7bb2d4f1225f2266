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

from resumable_glance.api import endpoint
from resumable_glance.api.health import Health
from resumable_glance.auth.base import Authenticator
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.tickets import TicketAuthenticator
from resumable_glance.auth.trusts import Trusts
from resumable_glance.catalog.uploads import Catalog
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.images.base import ImageService
from resumable_glance.runtime.clock import SteadyClock
from resumable_glance.runtime.config import Settings
from resumable_glance.storage.local import LocalStorage
from resumable_glance.uploads.service import UploadService

LOG = logging.getLogger(__name__)
TIDY_INTERVAL = 60  # seconds
HANDOFF_STOP_TIMEOUT = 5  # seconds for handoffs at a stop: one that waits for a hung Glance is left where it is


@dataclass(frozen=True)
class Service:
    """The application, and what a stop needs to reach."""

    asgi: ASGIApp
    uploads: UploadService


def build(
    settings: Settings,
    conf: cfg.ConfigOpts,
    gate: Authenticator | None = None,
    clock: Callable[[], float] | None = None,
) -> Service:
    """Open everything. `gate` is another one than the settings name, `clock` gives seconds since the epoch.

    Raises OSError, scratch.local.InUse, database.NewerCatalog, vault.BadKeyFile and what keystoneauth1 raises for
    options that are missing: each says in a sentence what is wrong.
    """
    scratch = LocalStorage(settings.scratch.directory)
    catalog = Catalog(settings.database.connection)
    vault = TokenCipher(settings.credentials.key_file)
    usual_gate, sink = authenticator_and_images(settings, conf)
    clock = clock or SteadyClock()
    trusts = _trusts(settings, conf)
    handoff = HandoffWorker(catalog, scratch, sink, vault, settings, clock, trusts=trusts)
    uploads = UploadService(settings, catalog, scratch, sink, vault, handoff, clock, trusts)
    gate = TicketAuthenticator(uploads.tickets, gate or usual_gate)
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
            await asyncio.wait(jobs, timeout=HANDOFF_STOP_TIMEOUT)
            catalog.close()
            scratch.close()

    return Service(endpoint.application(settings, gate, uploads, health, lifespan), uploads)


def authenticator_and_images(settings: Settings, conf: cfg.ConfigOpts) -> tuple[Authenticator, ImageService]:
    """Whom to let in, and where images go."""
    if settings.service.auth_strategy == "noauth":
        from resumable_glance.auth.noauth import NoAuthenticator
        from resumable_glance.images.directory import DirectoryImageService

        return NoAuthenticator(), DirectoryImageService(settings.service.image_directory)
    from resumable_glance.auth.keystone import KeystoneAuthenticator, service_session
    from resumable_glance.auth.policy import Policy

    session = service_session(conf)
    gate = KeystoneAuthenticator(session, settings.keystone_authtoken.token_cache_time, rights=Policy(conf).rights)
    if settings.service.image_service == "directory":
        from resumable_glance.images.directory import DirectoryImageService

        return gate, DirectoryImageService(settings.service.image_directory)
    from resumable_glance.images.glance.service import GlanceImageService

    return gate, GlanceImageService(
        conf, session, settings.handoff.workers + settings.handoff.early_workers, settings.handoff.glance_timeout
    )


def _trusts(settings: Settings, conf: cfg.ConfigOpts) -> Trusts | None:
    """Where owners let us act for them, if they shall."""
    if not settings.trusts.enabled or settings.service.auth_strategy == "noauth":
        return None
    from resumable_glance.auth.keystone import service_session
    from resumable_glance.auth.trusts import KeystoneTrusts

    return KeystoneTrusts(conf, service_session(conf), settings.trusts.lifetime)


async def _tidy(uploads: UploadService) -> None:
    while True:
        try:
            await uploads.janitor.tidy()
        except Exception:
            LOG.exception("tidying up met a defect of ours")
        await asyncio.sleep(TIDY_INTERVAL)

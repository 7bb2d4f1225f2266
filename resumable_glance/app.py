"""The composition root: chooses, builds and connects all parts of the service by its settings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from oslo_config import cfg
from starlette.applications import Starlette
from starlette.types import ASGIApp

from resumable_glance.api.endpoint import Endpoint, application
from resumable_glance.api.health import Health
from resumable_glance.api.sse import EventStreams
from resumable_glance.auth.base import Authenticator
from resumable_glance.auth.delegation import Delegation
from resumable_glance.auth.encryption import TokenCipher
from resumable_glance.auth.identity_digests import IdentityDigests
from resumable_glance.auth.keystone import KeystoneAuthenticator, service_session
from resumable_glance.auth.noauth import NoAuthenticator
from resumable_glance.auth.policy import Policy
from resumable_glance.auth.signing import ReceiptSigner
from resumable_glance.auth.tickets import TicketAuthenticator, Tickets
from resumable_glance.auth.trusts import KeystoneTrusts, Trusts
from resumable_glance.catalog import Catalog
from resumable_glance.catalog.transactions import Transactions
from resumable_glance.handoff.delivering import Delivering
from resumable_glance.handoff.early import EarlyDeliveries
from resumable_glance.handoff.plan import Step
from resumable_glance.handoff.proving import Proving
from resumable_glance.handoff.reader import ContentReader, Readers
from resumable_glance.handoff.replacement import Replacement
from resumable_glance.handoff.walk import Walk
from resumable_glance.handoff.worker import HandoffWorker
from resumable_glance.images.base import ImageService
from resumable_glance.images.directory import DirectoryImageService
from resumable_glance.images.inspection import FormatRules
from resumable_glance.model import commands
from resumable_glance.runtime.clock import SteadyClock
from resumable_glance.runtime.config import Settings
from resumable_glance.runtime.rate_limit import RateLimiter
from resumable_glance.runtime.threads import Threads
from resumable_glance.storage.base import UploadStorage
from resumable_glance.storage.local import LocalStorage
from resumable_glance.uploads.append import AppendUseCase, ChunkReceiver
from resumable_glance.uploads.authorization import Authorization
from resumable_glance.uploads.capacity import Capacity
from resumable_glance.uploads.cleanup import Cleaner, OrphanRemover
from resumable_glance.uploads.completion import Completion
from resumable_glance.uploads.control import CancelUseCase, RetryUseCase, TicketUseCases
from resumable_glance.uploads.create import CreateUseCase, JoinUseCase, NewUploads, UploadStarter
from resumable_glance.uploads.format_check import FormatCheck
from resumable_glance.uploads.idempotency import Idempotency
from resumable_glance.uploads.image_preparation import ImagePreparation
from resumable_glance.uploads.inspect import InspectUseCases, ReadUseCases
from resumable_glance.uploads.service import UploadService, UseCase
from resumable_glance.uploads.write_locks import WriteLocks

LOG = logging.getLogger(__name__)
TIDY_INTERVAL = 60  # seconds
HANDOFF_STOP_TIMEOUT = 5  # seconds; at a stop, a handoff that waits for a hung Glance is abandoned


@dataclass(frozen=True)
class Parts:
    """The parts that depend on the cloud, or that tests replace. `clock` gives seconds since the epoch."""

    catalog: Catalog
    storage: UploadStorage
    images: ImageService
    cipher: TokenCipher
    trusts: Trusts | None
    clock: Callable[[], float]


@dataclass(frozen=True)
class Core:
    """The uploads and their handoff, without HTTP."""

    uploads: UploadService
    handoff: HandoffWorker
    cleaner: Cleaner
    tickets: Tickets
    signer: ReceiptSigner
    progress: Mapping[str, int]  # bytes delivered to the image service, by upload


@dataclass(frozen=True)
class Service:
    """The ASGI application, and the uploads that a stop interrupts."""

    asgi: ASGIApp
    uploads: UploadService


def build(
    settings: Settings,
    conf: cfg.ConfigOpts,
    authenticator: Authenticator | None = None,
    clock: Callable[[], float] | None = None,
) -> Service:
    """Build the service. `authenticator` and `clock` replace those of the settings.

    Raises:
        CannotStart: a part can't be built; the sentence says why.
        OSError: a file can't be opened.
        keystoneauth1.exceptions.ClientException: an option of [keystone_authtoken] or [glance] is missing.
    """
    configured_authenticator, images = authenticator_and_images(settings, conf)
    storage = LocalStorage(settings.scratch.directory)
    parts = Parts(
        catalog=Catalog(Transactions(settings.database.connection)),
        storage=storage,
        images=images,
        cipher=TokenCipher(settings.credentials.key_file),
        trusts=_trusts(settings, conf),
        clock=clock or SteadyClock(),
    )
    core = build_core(settings, parts)
    authenticator = TicketAuthenticator(core.tickets, authenticator or configured_authenticator)
    health = Health(
        {
            "scratch": storage.check,
            "space": core.uploads.check,
            "catalog": parts.catalog.uploads.check,
            "identity": authenticator.check,
            "images": images.check,
        }
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await core.cleaner.open()
        jobs = [asyncio.create_task(core.handoff.run()), asyncio.create_task(_tidy(core.cleaner))]
        try:
            yield
        finally:
            await core.uploads.close()
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs, timeout=HANDOFF_STOP_TIMEOUT)
            parts.catalog.close()
            storage.close()

    streams = EventStreams(core.uploads, parts.catalog.notifier, core.progress, settings.limits.streams_per_project)
    requests = Endpoint(settings, authenticator, core.uploads, streams, core.signer, parts.clock)
    return Service(application(settings, requests, health, lifespan), core.uploads)


def build_core(settings: Settings, parts: Parts) -> Core:
    """Build the uploads and their handoff."""
    catalog, storage, images, clock = parts.catalog, parts.storage, parts.images, parts.clock
    uploads, service = catalog.uploads, settings.service
    rules = FormatRules.of(settings.image_format)
    tickets, signer = Tickets(parts.cipher, settings.tickets.lifetime, clock), ReceiptSigner(parts.cipher)
    delegation = Delegation(catalog, parts.cipher, parts.trusts, settings.credentials.expired_window, clock)

    locks = WriteLocks()
    orphans = OrphanRemover(catalog.orphans, images, delegation, service.record_retention, clock)
    cleaner = Cleaner(catalog, storage, orphans, locks, service, clock)

    readers = Readers(uploads, storage)
    replacement = Replacement(uploads, catalog.orphans, images, clock)
    proving = Proving(uploads, readers, rules, Threads(settings.handoff.workers, "prove"))
    delivering = Delivering(uploads, images, readers, replacement, settings.handoff, clock)
    steps = {
        Step.INSPECT: proving.inspect,
        Step.PROVE: proving.prove,
        Step.DELIVER: delivering.deliver,
        Step.IMPORT: delivering.import_staged,
        Step.RECORD: delivering.record,
        Step.VERIFY: delivering.verify,
        Step.WAIT: delivering.wait,
        Step.BACK_OFF: delivering.back_off,
        Step.GIVE_UP: delivering.give_up,
        Step.REPLACE: replacement.replace,
    }
    walk = Walk(images, delegation, readers, steps, clock)
    early = EarlyDeliveries(uploads, images, readers, delegation, settings.handoff, clock)
    handoff = HandoffWorker(uploads, walk, early, cleaner.clear, settings.handoff, clock)

    authorization = Authorization(uploads, locks, clock)
    attempts = RateLimiter(settings.limits.creations_per_minute, clock, "creations of your project")
    capacity = Capacity(uploads, storage, settings, attempts)
    preparation = ImagePreparation(images, catalog.orphans, delegation, settings.image_format.enabled, clock)
    idempotency = Idempotency(catalog.idempotency_keys, authorization)
    new = NewUploads(uploads, storage, capacity, delegation, service, clock)
    starter = UploadStarter(delegation, handoff, tickets)
    completion = Completion(uploads, authorization, delegation, handoff, service.waiting_retention, clock)
    format_check = FormatCheck(uploads, locks, cleaner, rules, service.waiting_retention, clock)
    receiver = ChunkReceiver(uploads, storage, format_check, completion, settings, clock)
    inspect = InspectUseCases(uploads, authorization, locks, completion, readers.progress)
    content = ReadUseCases(
        authorization, ContentReader(uploads, readers, images), signer, IdentityDigests(parts.cipher), images
    )
    ticket = TicketUseCases(uploads, authorization, completion, tickets, locks)
    use_cases: dict[type[commands.Command], UseCase] = {
        commands.Create: CreateUseCase(new, capacity, preparation, idempotency, starter).create,
        commands.Join: JoinUseCase(new, capacity, preparation, authorization, uploads, starter).join,
        commands.Append: AppendUseCase(uploads, authorization, capacity, locks, receiver, completion).append,
        commands.Get: inspect.get,
        commands.Watch: inspect.watch,
        commands.List: inspect.list,
        commands.Read: content.read,
        commands.GetReceipt: content.get_receipt,
        commands.ListStores: content.list_stores,
        commands.Identify: content.identify,
        commands.Cancel: CancelUseCase(authorization, locks, handoff, cleaner).cancel,
        commands.Retry: RetryUseCase(uploads, authorization, completion, inspect, clock).retry,
        commands.IssueTicket: ticket.issue,
        commands.RevokeTickets: ticket.revoke,
    }
    upload_service = UploadService(use_cases, authorization, capacity, locks, catalog.notifier)
    return Core(upload_service, handoff, cleaner, tickets, signer, readers.progress)


def authenticator_and_images(settings: Settings, conf: cfg.ConfigOpts) -> tuple[Authenticator, ImageService]:
    """Build the authenticator and the image service that the settings name."""
    service = settings.service
    if service.auth_strategy == "noauth":
        return NoAuthenticator(), DirectoryImageService(service.image_directory)
    session = service_session(conf)
    cache_time = settings.keystone_authtoken.token_cache_time
    authenticator = KeystoneAuthenticator(session, cache_time, rights=Policy(conf).rights)
    if service.image_service == "directory":
        return authenticator, DirectoryImageService(service.image_directory)
    from resumable_glance.images.glance.service import GlanceImageService  # slow to import

    workers = settings.handoff.workers + settings.handoff.early_workers
    return authenticator, GlanceImageService(conf, session, workers, settings.handoff.glance_timeout)


def _trusts(settings: Settings, conf: cfg.ConfigOpts) -> Trusts | None:
    if not settings.trusts.enabled or settings.service.auth_strategy == "noauth":
        return None
    return KeystoneTrusts(conf, service_session(conf), settings.trusts.lifetime)


async def _tidy(cleaner: Cleaner) -> None:
    while True:
        try:
            await cleaner.tidy()
        except Exception:
            LOG.exception("cleanup failed unexpectedly")
        await asyncio.sleep(TIDY_INTERVAL)

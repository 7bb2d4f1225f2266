"""The members that need OpenStack keep their contracts."""

from __future__ import annotations

import asyncio

from resumable_glance.auth.keystone import KeystoneAuthenticator, service_session
from resumable_glance.images.base import Actor
from resumable_glance.images.glance.service import GlanceImageService
from resumable_glance.model.upload import ImageRequest, Owner
from resumable_glance.runtime import config
from tests.contracts import check_authenticator, check_image_service
from tests.contracts import images as contract
from tests.support.cloud import DEMO, Cloud
from tests.support.service import Service
from tests.support.wire import RAW


def test_glance_keeps_the_contract(cloud: Cloud, glance_service: Service) -> None:
    settings, conf = config.load([str(glance_service.configuration)])
    session = cloud.session(DEMO)
    owner = Owner(str(session.get_project_id()), str(session.get_user_id()))
    service = GlanceImageService(conf, service_session(conf), settings.handoff.workers, settings.handoff.glance_timeout)
    asyncio.run(check_image_service(service, Actor(owner, session.get_token()), ImageRequest(RAW)))


def test_the_real_keystone_keeps_the_contract(cloud: Cloud, glance_service: Service) -> None:
    settings, conf = config.load([str(glance_service.configuration)])
    authenticator = KeystoneAuthenticator(service_session(conf), settings.keystone_authtoken.token_cache_time)
    revoked = cloud.token(DEMO)
    cloud.revoke(revoked)
    bad = [{}, {"x-auth-token": ""}, {"x-auth-token": "nonsense"}, {"x-auth-token": revoked}]
    asyncio.run(check_authenticator(authenticator, {"x-auth-token": cloud.token(DEMO)}, bad))


def test_glance_keeps_the_contract_for_staged_images(cloud: Cloud, glance_service: Service) -> None:
    """Those parts of it where an import is another thing than an upload."""
    settings, conf = config.load([str(glance_service.configuration)])
    session = cloud.session(DEMO)
    owner = Owner(str(session.get_project_id()), str(session.get_user_id()))
    service = GlanceImageService(conf, service_session(conf), settings.handoff.workers, settings.handoff.glance_timeout)
    actor, request = Actor(owner, session.get_token()), ImageRequest(RAW, stores=("fast", "archive"))

    async def keeps() -> None:
        await contract.an_image_of_no_bytes_is_complete_too(service, actor, request)
        await contract.a_source_that_is_too_short_never_completes(service, actor, request)

    asyncio.run(keeps())

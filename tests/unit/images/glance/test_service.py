"""The image service Glance, as far as it needs no Glance."""

from pathlib import Path

from resumable_glance.images.base import Actor
from resumable_glance.images.glance.service import GlanceImageService
from resumable_glance.model.upload import Owner
from resumable_glance.runtime import config


def test_glance_is_asked_with_the_options_of_its_group(tmp_path: Path) -> None:
    """And not as [keystone_authtoken] says: Glance may have another certificate, and takes longer to answer."""
    from keystoneauth1.noauth import NoAuth
    from keystoneauth1.session import Session

    file = tmp_path / "service.conf"
    file.write_text("[glance]\nendpoint_override = http://127.0.0.1:1\ntimeout = 7\ncafile = /glance.pem\n")
    _, conf = config.load([str(file)], {"public_endpoint": "https://uploads.example"})
    service = GlanceImageService(
        conf, Session(NoAuth(), verify="/keystone.pem", timeout=3), workers=1, glance_timeout=600
    )
    session = service._client(Actor(Owner("project", "user"), "token")).http_client.session
    assert (session.timeout, session.verify) == (7.0, "/glance.pem")

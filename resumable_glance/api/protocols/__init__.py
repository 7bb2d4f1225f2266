"""The wire protocols: translations between HTTP and the model. Pure, without I/O."""

from resumable_glance.api.protocols import native, rufh, tus
from resumable_glance.api.protocols.base import WireProtocol

PROTOCOLS: tuple[WireProtocol, ...] = (native, tus, rufh)

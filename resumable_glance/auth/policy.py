"""Who may do what, as an operator can change it: oslo.policy's rules, with their defaults.

Its one rule: they are asked once for each token, when Keystone has told whose it is, and never for a chunk. So a rule
is about who asks; which uploads are theirs, the catalog knows. Glance has the last word on images: it is asked as the
user.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from resumable_glance.auth.base import Identity, Right
from resumable_glance.errors import CannotStart

if TYPE_CHECKING:
    from oslo_policy.policy import DocumentedRuleDefault

MOUNTS = ("/v1/uploads", "/v1/tus", "/v1/rufh")
PROJECT, ANY = ["project"], ["system", "project"]
_MEMBER = "role:member or role:manager or role:admin"
_READER = f"role:reader or {_MEMBER}"
_EVERYBODYS = "role:admin or role:service"
_WATCHERS = f"{_EVERYBODYS} or (role:reader and system_scope:all)"
# What each lets somebody do, by default whom, in which scopes, and with which methods of /v1/uploads/{id} or above.
RULES: dict[Right, tuple[str, str, list[str], tuple[str, ...]]] = {
    Right.CREATE: ("Create an upload, or join parts into one.", _MEMBER, PROJECT, ("POST /",)),
    Right.LIST: ("List one's own uploads, and the stores that there are.", _READER, PROJECT, ("GET /",)),
    Right.GET: ("Look at one's own upload, watch it, read its bytes.", _READER, PROJECT, ("GET /{id}", "HEAD /{id}")),
    Right.UPDATE: ("Send bytes, retry a handoff, renew and revoke tickets, of one's own upload.", _MEMBER, PROJECT,
                   ("PATCH /{id}", "POST /{id}/ticket", "DELETE /{id}/ticket", "POST /{id}/retry")),
    Right.DELETE: ("Cancel one's own upload.", _MEMBER, PROJECT, ("DELETE /{id}",)),
    Right.LIST_ALL: ("List the uploads of all projects.", _WATCHERS, ANY, ("GET /?all_projects=1",)),
    Right.GET_ANY: ("Look at anybody's upload, and watch it.", _WATCHERS, ANY, ("GET /{id}", "HEAD /{id}")),
    Right.CANCEL_ANY: ("Cancel anybody's upload.", _EVERYBODYS, ANY, ("DELETE /{id}",)),
}  # fmt: skip


class BadPolicy(CannotStart):
    """The policy file can't be used; the sentence says why."""


def list_rules() -> Sequence[DocumentedRuleDefault]:
    """For oslopolicy-sample-generator and its like, by the entry point oslo.policy.policies."""
    from oslo_policy.policy import DocumentedRuleDefault

    def operations(all_of_it: tuple[str, ...]) -> Any:
        pairs = [each.split(" ") for each in all_of_it]
        return [{"method": method, "path": MOUNTS[0] + path.rstrip("/")} for method, path in pairs]

    return [
        DocumentedRuleDefault(right.value, check, meaning, operations(asked), scope_types=scopes)
        for right, (meaning, check, scopes, asked) in RULES.items()
    ]


class Policy:
    """The rules as `conf` has them ([oslo_policy] policy_file). A change of it counts for tokens seen after it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        from oslo_policy import policy

        self._lock = threading.Lock()  # it reads the file again, whoever asks
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults(list_rules())
        try:
            self._enforcer.load_rules()
        except Exception as problem:  # whatever yaml and its own parser raise
            raise BadPolicy(f"the policy file can't be used: {problem}") from problem

    def rights(self, identity: Identity) -> frozenset[Right]:
        """What this identity may do."""
        owner = {"user_id": identity.owner.user_id, "project_id": identity.owner.project_id or None}
        credentials = {
            **owner,
            "roles": list(identity.roles),
            "system_scope": "all" if identity.system else None,
        }
        with self._lock:
            return frozenset(each for each in Right if self._enforcer.enforce(each.value, owner, dict(credentials)))

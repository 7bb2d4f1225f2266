"""Policy: the rights of each identity by rules of oslo.policy, which operators can change.

Rules are evaluated once for each token, when Keystone has validated it, and not for each chunk. So they are about
identities; the owner of an upload is compared elsewhere, and Glance enforces its own policy, since it is called as the
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

PROJECT, ANY = ["project"], ["system", "project"]
_MEMBER = "role:member or role:manager or role:admin"
_READER = f"role:reader or {_MEMBER}"
_ADMIN = "role:admin or role:service"
_AUDITOR = f"{_ADMIN} or (role:reader and system_scope:all)"
# Of each right: what it allows, the default rule, the scopes of tokens, and the requests below /v1/uploads.
RULES: dict[Right, tuple[str, str, list[str], tuple[str, ...]]] = {
    Right.CREATE: ("Create an upload, or join parts into one.", _MEMBER, PROJECT, ("POST /",)),
    Right.LIST: ("List one's own uploads and the cloud's stores; tell who one is.", _READER, PROJECT, ("GET /",)),
    Right.GET: ("Show and watch one's own upload, and read its bytes.", _READER, PROJECT, ("GET /{id}", "HEAD /{id}")),
    Right.UPDATE: ("Send bytes, retry the handoff, and issue and revoke tickets of one's own upload.", _MEMBER, PROJECT,
                   ("PATCH /{id}", "POST /{id}/ticket", "DELETE /{id}/ticket", "POST /{id}/retry")),
    Right.DELETE: ("Cancel one's own upload.", _MEMBER, PROJECT, ("DELETE /{id}",)),
    Right.LIST_ALL: ("List the uploads of all projects.", _AUDITOR, ANY, ("GET /?all_projects=1",)),
    Right.GET_ANY: ("Show and watch the upload of any owner.", _AUDITOR, ANY, ("GET /{id}", "HEAD /{id}")),
    Right.CANCEL_ANY: ("Cancel the upload of any owner.", _ADMIN, ANY, ("DELETE /{id}",)),
}  # fmt: skip


class BadPolicy(CannotStart):
    """The policy file is unusable; the sentence says why."""


def list_rules() -> Sequence[DocumentedRuleDefault]:
    """Return all rules, for the entry point oslo.policy.policies."""
    from oslo_policy.policy import DocumentedRuleDefault

    def operations(requests: tuple[str, ...]) -> Any:
        pairs = [each.split(" ") for each in requests]
        return [{"method": method, "path": "/v1/uploads" + path.rstrip("/")} for method, path in pairs]

    return [
        DocumentedRuleDefault(right.value, rule, meaning, operations(requests), scope_types=scopes)
        for right, (meaning, rule, scopes, requests) in RULES.items()
    ]


class Policy:
    """The rules in the policy file of `conf` ([oslo_policy] policy_file). Changes apply to tokens validated later."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        from oslo_policy import policy

        self._lock = threading.Lock()  # the enforcer reloads the file, in any thread
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.register_defaults(list_rules())
        try:
            self._enforcer.load_rules()
        except Exception as problem:  # of YAML, or of its own parser
            raise BadPolicy(f"the policy file is unusable: {problem}") from problem

    def rights(self, identity: Identity) -> frozenset[Right]:
        """Return the rights of an identity."""
        owner = {"user_id": identity.owner.user_id, "project_id": identity.owner.project_id or None}
        credentials = {**owner, "roles": list(identity.roles), "system_scope": "all" if identity.system else None}
        with self._lock:
            return frozenset(each for each in Right if self._enforcer.enforce(each.value, owner, dict(credentials)))

"""The options as oslo-config-generator and oslo-config-validator need them: ours, and those of keystoneauth1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from oslo_config import cfg

from resumable_glance.runtime.config import GROUPS, SESSION_TIMEOUT


def list_opts() -> Iterator[tuple[str, Sequence[cfg.Opt]]]:
    """Yield all groups and their options, for the entry point oslo.config.opts."""
    for group, options in GROUPS.items():
        yield group, [*options, *_keystoneauth_opts(adapter=False)] if group == "keystone_authtoken" else options
    yield "glance", _keystoneauth_opts(adapter=True)


def _keystoneauth_opts(adapter: bool) -> list[cfg.Opt]:
    from keystoneauth1 import loading  # slow to import

    options = list(loading.get_session_conf_options())
    next(each for each in options if each.name == "timeout").default = SESSION_TIMEOUT
    if adapter:
        return options + list(loading.get_adapter_conf_options(include_deprecated=False))
    password = loading.get_auth_plugin_conf_options("password")
    return [
        *options,
        *loading.get_auth_common_conf_options(),
        *(each for each in password if each.name != "auth_section"),
    ]

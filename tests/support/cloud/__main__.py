"""Runs a cloud until it is interrupted, and prints what OpenStack's programs need to use it."""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from tests.support.cloud import DEMO, install, start


def main() -> None:
    """Start Keystone and Glance, print the variables of the user demo, and wait for Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.cloud",
        description="Run a real Keystone and a real Glance on 127.0.0.1 until Ctrl-C.",
        epilog="The first run installs them into .nox, which takes about a minute. "
        f"${install.CLOUD.variable} names another place for that.",
    )
    parser.add_argument("--directory", type=Path, help="empty directory for state and logs; it is kept")
    parser.add_argument("--token-lifetime", type=int, default=3600, metavar="SECONDS")
    parser.add_argument("--install-only", action="store_true", help="install, prepare and end")
    arguments = parser.parse_args()

    # Both signals leave through the `with` block, which stops the servers.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda number, frame: sys.exit(0))
    with start(directory=arguments.directory, token_lifetime=arguments.token_lifetime) as cloud:
        if arguments.install_only:
            return
        for name, value in cloud.environment(DEMO).items():
            print(f"export {name}={shlex.quote(value)}", flush=True)
        install.progress(f"Glance is at {cloud.image_url}, state and logs are in {cloud.directory}")
        install.progress("Ctrl-C ends it")
        signal.pause()


if __name__ == "__main__":
    main()

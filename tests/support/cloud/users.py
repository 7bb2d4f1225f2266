"""The people (and services) of the cloud. All of them live in the domain "Default"."""

from dataclasses import dataclass


@dataclass(frozen=True)
class User:
    """A user with one role on one project; both are names."""

    name: str
    password: str
    project: str
    role: str


ADMIN = User("admin", "admin-password", project="admin", role="admin")
DEMO = User("demo", "demo-password", project="demo", role="member")
READER = User("reader", "reader-password", project="demo", role="reader")
OTHER = User("other", "other-password", project="other", role="member")
SERVICE = User("resumable-glance", "resumable-glance-password", project="service", role="service")
GLANCE = User("glance", "glance-password", project="service", role="service")

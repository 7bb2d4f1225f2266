"""The upload client: a file in, a proven image out, whatever happens on the way.

plan        PURE: what to send next, what an answer means, how long to wait
imagefile   the file: its bytes, its fingerprint, its digests
record      what has to survive so that an upload can go on
cloud       who the user is: clouds.yaml, OS_*, or nobody
connection  the service's requests, each as one method with a typed answer
upload      the driver that brings these together
progress    what a person sees meanwhile
"""

from __future__ import annotations


class Failure(Exception):
    """The upload can't go on. The text is what a person is told: what happened, and what to do now."""

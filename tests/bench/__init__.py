"""The benchmark: our service and others beside each other, in turn, in one run.

    python3 noxfile.py -s bench                       # all of it, below 25 minutes on a quiet machine; makes the page
    python3 noxfile.py -s bench -- --quick            # tiny sizes, for who works on it; no page
    python3 noxfile.py -s bench -- --only way-in link

Each module that all.py names has one contest or more. What was measured is in docs/performance.json, and
docs/performance.md is made from that. Nothing here is a test: how fast a machine is must not fail one.
"""

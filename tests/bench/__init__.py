"""The benchmark: our service and others, in turn, in one run.

    python3 noxfile.py -s bench                       # all of it, below 25 minutes on a quiet machine; makes the page
    python3 noxfile.py -s bench -- --quick            # tiny sizes, to try the benchmark; no page
    python3 noxfile.py -s bench -- --only way-in link

Each module named in all.py has one contest or more. The figures are in docs/performance.json, from which
docs/performance.md is made. Nothing here is a test: the speed of a machine must not fail one.
"""

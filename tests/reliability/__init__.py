"""The reliability run: what is promised, tried until it breaks or the number of tries is published.

Each module that all.py names is one trial, with the way to run it alone:

    python -m tests.reliability.kills --count 500 --seed 7

`python -m tests.reliability` runs them all and makes docs/reliability.md; tests/reliability/test_reliability.py runs a share.
"""

"""The reliability run: trials that repeat one kind of accident until a promise breaks, or the count is published.

Each module named in all.py is one trial, and runs alone by

    python -m tests.reliability.kills --count 500 --seed 7

`python -m tests.reliability` runs them all and makes docs/reliability.md; test_reliability.py runs a share of each.
"""

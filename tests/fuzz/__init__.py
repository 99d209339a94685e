"""Targets of coverage-guided fuzzing: each module has a `check(data)`, which raises if a promise is broken.

By hand, with `pip install atheris`: `python -m tests.fuzz.target -runs=100000`. `test_harness.py` keeps them running.
"""

"""What coverage-guided fuzzing is pointed at: one `check(data)` a module, which raises where a promise does not hold.

By hand, with `pip install atheris`: `python -m tests.fuzz.target -runs=100000`. `test_harness.py` keeps them running.
"""

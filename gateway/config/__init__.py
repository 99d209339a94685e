"""Files and environment become one frozen `Snapshot`, or a list of problems with their places.

YAML text, flags and environment come in here and nowhere else. What leaves is checked whole: nothing above validates
again. `load` has no side effects but reading files.
"""

"""YAML read strictly: bytes become nodes that know their lines, nodes become values, and every problem is kept.

Knows no setting by name. Comes in: bytes, and the shape of what is expected. Not here: what a setting means.
"""

"""Every setting and policy field, declared once: its type, unit, default and description.

The reader, the environment variables, the JSON Schemas and the tables of the docs come from these declarations.
Not here: checks that need a second setting or another file.
"""

"""Probes, metrics and the status page for operators, on a listener of their own.

Comes in: counts, previews and names. Nothing here changes how a request is served.
"""

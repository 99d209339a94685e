"""What whoever runs the gateway may see of it: probes, metrics and the status page, on a listener of their own.

Only facts come in: counts, previews, names. Nothing here changes how a request is served.
"""

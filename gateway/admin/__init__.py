"""What an operator may see of the gateway: probes, metrics and the status page, on a listener of their own.

Only facts come in: counts, previews, names. Nothing here changes how a request is served.
"""

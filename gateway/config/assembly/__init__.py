"""Settings, policies, routes, catalog and secrets checked against each other and made into one `Snapshot`.

Comes in: documents that `gateway.config.reading` has read. Leaves: frozen values, or the list of all problems.
"""

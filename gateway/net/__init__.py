"""The network and the file system: names to addresses, sockets that listen, files that change.

Knows nothing of configuration, callers or keys.
"""

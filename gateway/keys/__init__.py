"""Who the gateway is upstream: the secrets of each key, what ``GET /me`` says of them, and where that is kept.

No request of a caller comes in here, only the route it takes; no secret goes out but inside a `Secret`, and none is
ever stored.
"""

"""Who the gateway is upstream: the secrets of each key, their identities from ``GET /me``, and the store for those.

Comes in: permits, and answers that are about a secret. Goes out: the `Secret` to send a request with. No secret is ever
stored.
"""

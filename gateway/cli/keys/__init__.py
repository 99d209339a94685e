"""Commands for owners of keys: which secrets serve, and which may be revoked."""

"""The data path on real sockets: what the upstream saw, and what the caller got."""

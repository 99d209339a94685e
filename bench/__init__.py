"""Measurements that are run by hand: the gateway beside its peers."""

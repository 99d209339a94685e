"""Tests of `gateway.runtime`."""

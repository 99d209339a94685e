"""Tests of `gateway.keys`."""

"""Tests of `gateway.simulator`."""

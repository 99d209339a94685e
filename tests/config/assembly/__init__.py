"""Tests of `gateway.config.assembly`."""

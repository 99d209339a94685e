"""Tests of `gateway.config.assembly.assembly`."""

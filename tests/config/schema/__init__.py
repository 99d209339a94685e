"""Tests of `gateway.config.schema`."""

"""Tests of `gateway.config.reading`."""

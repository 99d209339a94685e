"""Tests of `gateway.aio`."""

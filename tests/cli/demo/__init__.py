"""Tests of the commands in `gateway.cli.demo`."""

"""Tests of the commands in `gateway.cli.policies`."""

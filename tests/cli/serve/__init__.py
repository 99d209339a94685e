"""Tests of the commands in `gateway.cli.serve`."""

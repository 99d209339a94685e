"""README, docs and runbook agree with the program."""

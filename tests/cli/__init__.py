"""The commands, run as users run them, each in its own process."""

"""The commands, run as users run them: in a process of their own."""

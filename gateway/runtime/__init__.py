"""The running process: start, reload, drain, and the one configuration that is served at a time.

Wires all other rooms together; only the commands import it."""

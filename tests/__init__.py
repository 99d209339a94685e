"""Promises that users and operators can rely on, one test each. Sockets are real; clocks are arguments."""

"""Scripts that bring tools for tests, and the steps of a release. The gateway imports nothing from here."""

"""Image, chart, sidecar and examples, checked with the real tools; what is not installed here is skipped by name."""

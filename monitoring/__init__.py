"""Alert rules, their cases, and the dashboard."""

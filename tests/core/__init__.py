"""The deciding core: functions of values, so tables and properties are enough."""

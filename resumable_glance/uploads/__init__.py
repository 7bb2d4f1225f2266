"""The use cases: create, append, inspect, cancel, expire."""

"""Stand-ins for faults that the real thing can't show on demand."""

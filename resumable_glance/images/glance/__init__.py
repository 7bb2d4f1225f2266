"""Glance, spoken to through python-glanceclient."""

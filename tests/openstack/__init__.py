"""Tests beside a real Keystone, Glance and Horizon."""

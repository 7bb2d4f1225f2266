"""The byte stores where uploads wait."""

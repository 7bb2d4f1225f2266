"""HTTP: what is on the wire changes here."""

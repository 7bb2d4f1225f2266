"""Authentication, policy, and the credentials that the service acts with."""

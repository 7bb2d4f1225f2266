"""Authentication, authorization data and the credentials that the service acts with."""

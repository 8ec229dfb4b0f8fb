"""Train one network, select on validation, evaluate once on test."""

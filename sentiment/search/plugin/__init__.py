"""The engine as Hydra sees it: a sweeper, its config groups and its options."""

"""Running jobs: in this process, in worker processes, or under a Hydra launcher."""

"""One study: its trials in the storage, what it is about, how its jobs end, and the job's own side of a trial."""

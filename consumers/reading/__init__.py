"""Which partitions are read, where reading resumes, and what stops it."""

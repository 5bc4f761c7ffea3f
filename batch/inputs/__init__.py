"""Is the data sane: statistics, merged profiles and the schema of a window's inputs."""

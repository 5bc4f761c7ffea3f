"""Worker processes that compute for jobs, and what every kind of task in them shares."""

"""What is due, when it is worth running, and the commit that makes a run visible."""

"""What is counted of a partition, as a function of its log alone."""

"""What a flush writes, and in which order; written beside reading, for as long as it takes."""

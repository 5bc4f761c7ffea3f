"""Is the model right: figures on labelled predictions with their intervals, and how the labels come."""

"""Pages of windows as Evidently draws them, made harmless, kept and listed."""

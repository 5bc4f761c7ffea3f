"""The same questions for parts of the traffic: which slice is worse, and how far groups lie apart."""

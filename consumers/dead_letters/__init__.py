"""Dead letters as people handle them: shown, sent again, given up."""

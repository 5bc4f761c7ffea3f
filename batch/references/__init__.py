"""What windows are compared with: sets of rows, built, promoted, or taken from a window's own past."""

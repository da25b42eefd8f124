"""Measurements of what holdall promises, side by side with what else does the work, in one run on one machine."""

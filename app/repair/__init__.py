"""What is not valid made valid, where that takes no guessing, with an honest report."""

"""Side by side with peers, in one process, on one thread; ratios are printed, nothing is asserted."""

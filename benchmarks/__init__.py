"""Speed and memory of the reduction, as ratios within one run: machines are shared and noisy."""

"""Crowded simulated frames for benchmarks of the joint fit: how they are drawn, read, scored and recorded."""

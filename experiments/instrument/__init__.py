"""Knowing and shaping the microscope: bounds, design, fabrication, retrieval, camera calibration."""

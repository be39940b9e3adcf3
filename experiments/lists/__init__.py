"""What to do with a list: convert, correct drift, evaluate, render, measure resolution, track."""

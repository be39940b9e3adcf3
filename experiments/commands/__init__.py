"""One thin file per command: its arguments, and the job it hands them to. No heavy import at the top."""

"""Runs as processes of their own: started, stopped, queued, and read again from their folders alone."""

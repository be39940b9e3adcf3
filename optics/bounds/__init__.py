"""Bounds on precision: the Fisher matrix of one emitter, and of one among neighbours."""

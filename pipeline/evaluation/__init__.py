"""Figures: clips and pictures against their truth, tables, speed."""

"""Figures: clips and images against their truth, tables, speed."""

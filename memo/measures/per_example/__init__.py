"""Scores of single training examples: how much they are memorised, how typical they are, when they are learned and forgotten.

Pure functions on arrays of T networks (or S seeds), E evaluations along training and N images of one pool, whose record the
probes image_record and input_curvature make.
"""

"""Parts of scripts/reproduce.py: the grid of trainings, their folds, their rows, and what is made of the rows."""

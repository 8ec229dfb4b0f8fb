"""What a study may choose: parameters, distributions, constraints, grids, and what draws points."""

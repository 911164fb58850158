"""`watch`: models of four kinds learn a density in the plane that is known, frame by frame."""

"""Bottom-up pose estimation: all people of a whole photo at once, with associative embedding."""

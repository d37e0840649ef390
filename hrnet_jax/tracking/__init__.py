"""Following people through the frames of a video."""

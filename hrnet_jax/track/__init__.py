"""Following the people of PoseTrack's sequences, and comparing the ways to do it."""

"""Pose estimation bottom-up: the joints of all people of a photo at once, then grouped to people."""

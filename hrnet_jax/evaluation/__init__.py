"""From predicted joints to the published figures."""

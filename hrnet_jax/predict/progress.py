"""What progress bars show."""

import tqdm


def people_rate(bar: tqdm.tqdm, people: int) -> str:
    """Returns the number of people per second since a bar was made, in words."""
    return f"{people / max(bar.format_dict['elapsed'], 1e-3):.1f} people/s"

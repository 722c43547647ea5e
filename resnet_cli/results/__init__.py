"""What each command measures, as data: dataclasses, and how they are saved and read."""

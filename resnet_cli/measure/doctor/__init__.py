"""What is installed and what works here. Nothing of this imports torch into this process."""

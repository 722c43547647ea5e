"""A document in one medium: terminal, CSV, Markdown, SVG."""

"""A document in one medium: terminal, CSV, Markdown, SVG."""

# What a report can be written as.
REPORT_FORMATS = ("html", "svg", "png", "json")

"""A document as lines of text: layout, column widths, overflow and character sets."""

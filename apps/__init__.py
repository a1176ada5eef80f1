"""The only room that parses arguments, prints, or shows a page."""

"""One file per format of tubes and masks."""

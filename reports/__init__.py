"""Tables, figures and statistics made from the files of a run; loads no model and imports no torch."""

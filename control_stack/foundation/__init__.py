"""One recurrent policy for all quadrotors: airframes it is trained on, training, runtime and export."""

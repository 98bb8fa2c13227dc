"""What the reduction reads and writes: frames, TIFF, masks, ``.chi``, ``.poni``, and calibrations of other programs."""

"""The start-up files of an IPython session; a package only so that they are installed with it."""

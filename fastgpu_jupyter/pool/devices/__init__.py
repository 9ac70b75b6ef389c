"""The GPUs of this host, behind one small interface."""

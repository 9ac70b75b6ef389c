"""What ``jupyter fastgpu doctor`` knows: the facts of a machine, and the rules that say what follows from them."""

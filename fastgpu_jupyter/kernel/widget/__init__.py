"""The widget of a kernel's lease: :class:`~.gpu_widget.GPUWidget`, and :func:`~.progress.lease_progress`.

The widget has two outputs. The first is an ES module (anywidget), which JupyterLab and Notebook 7 serve from the page:
there it sends no message to the kernel, so that it never keeps a kernel awake. The second is a table of the lease as
it was, with its time (:mod:`.snapshot`): it is what a saved notebook, nbconvert and papermill have, and it is updated
while a cell runs. The module hides it where it shows the lease itself.

Elsewhere (VS Code) the module sends one message for each action of the user, which :mod:`.requests` serves in a thread
of its own, so that it works while a cell runs or waits. :mod:`.kernel_widgets` is what the widgets of a kernel share.

Importing this package imports neither ipywidgets nor anywidget.
"""

"""How papermill runs a chapter when a reader calls it: with the interpreter and the code that it itself runs with.

papermill has its engines from the entry points ``papermill.engine``, but none of them without ``--engine``; so this one
takes the place of its own engine, to which it leaves all notebooks that are not ours.
"""

from papermill.engines import NBClientEngine, papermill_engines

OURS = "one_class_book"  # in the metadata of our notebooks


class Engine(NBClientEngine):
    """papermill's engine, but for the kernel of our notebooks, unless another than theirs is named (``-k``)."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **options):
        metadata = nb_man.nb.metadata
        if OURS in metadata and kernel_name == metadata.kernelspec.name:
            from . import kernel

            options.setdefault("kernel_manager_class", kernel.own())
        return NBClientEngine.execute_managed_notebook(nb_man, kernel_name, **options)


papermill_engines.register(None, Engine)

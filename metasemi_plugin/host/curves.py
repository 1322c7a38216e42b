"""TensorBoard curves that cost no run: where they cannot be written, they end."""

from semilearn.core.utils import TBLog


class Curves(TBLog):
    """The host's TBLog, with a writer that gives up after the first failure and says so once."""

    def __init__(self, tb_dir, file_name, use_tensorboard=False):
        super().__init__(tb_dir, file_name, use_tensorboard)
        if use_tensorboard:
            self.writer = _Writer(self.writer)


class _Writer:
    def __init__(self, writer):
        self._writer, self._failed = writer, False

    def __getattr__(self, name):
        def call(*args, **kwargs):
            if self._failed:
                return
            try:
                getattr(self._writer, name)(*args, **kwargs)
            except OSError as error:
                self._failed = True
                print(f"no more TensorBoard curves: {error}", flush=True)

        return call

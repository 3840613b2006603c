"""The progress of a fit: the tasks that callbacks of scikit-learn and progress bars are told of."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy

from sklearn_recsys.utils._sklearn import CallbackSupportMixin
from sklearn_recsys.utils.progress import progress_bar

_HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")  # scikit-learn 1.9 or newer


@contextmanager
def fit_progress(model, X, y=None):
    """Yield the `FitProgress` of a fit, which is ``model._progress`` meanwhile.

    The method that is in this context is decorated by `with_callbacks`.
    """
    model._progress = progress = FitProgress(model, X, y)
    try:
        yield progress
        progress.end()
    finally:
        del model._progress


class FitProgress:
    """The tasks of a fit: iterations, stages of iterations, or the fits of other recommenders.

    Parameters
    ----------
    model : recommender
        The model that is fitted.
    X : csr_array of shape (n_users, n_items)
        The training matrix.
    y : object, default=None
        What was passed to `fit` with it: held-out cells, for callbacks that score.
    """

    def __init__(self, model, X, y=None):
        self.model = model
        self.data = {"X": X, "y": y}
        self._context = None

    @property
    def is_observed(self):
        """Whether a callback is told of the tasks."""
        return bool(vars(self.model).get("_skl_callbacks"))

    def begin(self, n_tasks=0):
        """Begin the fit, unless it has begun.

        Parameters
        ----------
        n_tasks : int or None, default=0
            Of how many tasks it consists; 0: it is one task; None: the number is not known.
        """
        if _HAS_CALLBACKS and self._context is None:
            context = self.model._init_callback_context(max_subtasks=n_tasks)
            self._context = self._begun(context)
        return self._context

    def end(self):
        """End the fit."""
        if self.begin() is not None:
            self._ended(self._context, reconstruction_attributes={})

    def iterations(self, name, **options):
        """Return `Iterations` of the fit."""
        return Iterations(self, name, **options)

    def loop(self, values, name, **options):
        """Yield the values of a sequence, each of which is one of the `Iterations` of the fit."""
        iterations = self.iterations(name, **options)
        try:
            iterations.start(len(values))
            for value in values:
                if not iterations.next():
                    break
                yield value
            iterations.end()
        finally:
            iterations.close()

    @contextmanager
    def member(self, name, model):
        """Return a context for the fit of another recommender, which is a task of this fit."""
        context = self.begin(None)
        if context is None:
            yield
            return
        task = context.subcontext(task_name=f"fit-{name}")
        with task.propagate_callback_context(model):
            self._begun(task)
            yield
            self._ended(task)

    def attributes(self, finish):
        """Return the attributes that the model would have if training ended now.

        ``finish(copy)`` sets those of a copy of the model.
        """
        model = copy(self.model)
        finish(model)
        model._set_interactions(self.data["X"])
        return vars(model)

    def _begun(self, context):
        context.call_on_fit_task_begin(estimator=self.model, **self.data)
        return context

    def _ended(self, context, **options):
        return context.call_on_fit_task_end(estimator=self.model, **self.data, **options)


class Iterations:
    """Consecutive tasks of a fit.

    Parameters
    ----------
    fit : FitProgress
        The fit.
    name : str
        What an iteration is called.
    stage : str, default=None
        The name of a task that consists of these iterations; None: the whole fit does.
    finish : callable, default=None
        ``finish(copy)`` sets the fitted attributes of a copy of the model as if the current
        iteration had been the last one. None: there is no usable model before the end.
    can_stop : bool, default=True
        Whether a callback may end the iterations early.
    show : bool, default=False
        Whether to show a progress bar, even if the user has not called `show_progress`.
    """

    def __init__(self, fit, name, *, stage=None, finish=None, can_stop=True, show=False):
        self.fit, self.name, self.stage = fit, name, stage
        self.finish, self.can_stop, self.show = finish, can_stop, show
        self._context = self._task = self._bar = None

    def start(self, n):
        """Begin `n` iterations."""
        label = type(self.fit.model).__name__ + ("" if self.stage is None else f" {self.stage}")
        self._bar = progress_bar(label, n, unit=self.name, show=self.show)
        self._context = self.fit.begin(n if self.stage is None else None)
        if self.stage is not None and self._context is not None:
            context = self._context.subcontext(task_name=self.stage, max_subtasks=n)
            self._context = self.fit._begun(context)

    def next(self):
        """End the current iteration, and begin one; return False if a callback has ended them."""
        if self._end_task() and self.can_stop:
            return False
        self._task = self._begin_task()
        return True

    def end(self):
        """End the current iteration, and all of them."""
        self._end_task()
        if self.stage is not None and self._context is not None:
            self.fit._ended(self._context)
        self.close()

    def close(self):
        """Remove the progress bar, also after an error."""
        if self._bar is not None:
            self._bar.close()

    def _begin_task(self):
        if not self.fit.is_observed or self._context.max_subtasks == 0:
            return True
        return self.fit._begun(self._context.subcontext(task_name=self.name))

    def _end_task(self):
        """End the current iteration, if there is one; return whether it is to be the last one."""
        task, self._task = self._task, None
        if task is None:
            return False
        if self._bar is not None:
            self._bar.update()
        if task is True:
            return False
        finish = self.finish
        attributes = None if finish is None else lambda: self.fit.attributes(finish)
        return self.fit._ended(task, reconstruction_attributes=attributes)

"""Interleaves the runs of two models, so that what they share is read and computed only once.

A check runs two models on several inputs. If the runs followed each other, each would read and
multiply all weights again. Here all runs proceed together, and each pauses when it needs a product
with a parameter. If all runs of both models need the same product, that is, if the parameters have
the same bits and the runs of one model have the same inputs as those of the other, it is computed
once, with the inputs of all runs in one matrix. Equal operands give equal products; everything
else is computed by each run alone, in its own shape. In all other cases each run gets its product
as if it ran alone.

Only one run computes at a time: the threads serve as coroutines, since the code of a model cannot
be paused in any other way.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from forgather_convert.logit_check.streamed_parameters import (
    LogitSelection,
    Parameter,
    Product,
    StreamedParameters,
    StreamingMode,
)
from forgather_convert.tensors.same_bits import have_same_bits

#: Where models of images record how far the positions of text after an image are shifted.
_POSITION_STATE = "rope_deltas"


class _Abandoned(BaseException):
    """Ends a run whose result is no longer needed."""


class LockstepRun:
    """A run of a model that can be paused.

    Args:
        model: The model.
        parameters: Its parameters.
        selection: Which logits to compute.
        compute: Runs the model.

    Attributes:
        results: What it has computed and nobody has taken.
    """

    def __init__(
        self,
        model: Any,
        parameters: StreamedParameters,
        selection: LogitSelection,
        compute: Callable[[Any], Iterable[torch.Tensor]],
    ) -> None:
        self.request: Product | None = None
        self.is_done = False
        self.error: Exception | None = None
        self.results: list[torch.Tensor] = []
        self._answer: torch.Tensor | None = None
        self._is_abandoned = False
        self._continues, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._state = _ModuleState(model)
        self._thread = threading.Thread(
            target=self._compute, args=(model, parameters, selection, compute), daemon=True
        )
        self._thread.start()

    def resume(self, answer: torch.Tensor | None = None) -> None:
        """Continues the run until it needs the next product, or ends."""
        self.request, self._answer = None, answer
        with self._state:
            self._continues.release()
            self._stopped.acquire()

    def abandon(self) -> None:
        """Ends the run where it is."""
        if not self.is_done:
            self._is_abandoned = True
            self._continues.release()
        self._thread.join()

    def _compute(
        self,
        model: Any,
        parameters: StreamedParameters,
        selection: LogitSelection,
        compute: Callable[[Any], Iterable[torch.Tensor]],
    ) -> None:
        try:
            self._wait()
            with torch.no_grad(), StreamingMode(parameters, selection, self._ask):
                for result in compute(model):
                    self.results.append(result)
                    del result
        except _Abandoned:
            pass
        except Exception as error:
            self.error = error
        finally:
            self.is_done = True
            self._stopped.release()

    def _ask(self, product: Product) -> torch.Tensor:
        self.request = product
        self._stopped.release()
        self._wait()
        answer, self._answer = self._answer, None
        assert answer is not None
        return answer

    def _wait(self) -> None:
        self._continues.acquire()
        if self._is_abandoned:
            raise _Abandoned


class _ModuleState:
    """State that a run changes in a model: some rotary embeddings record the longest sequence.

    Within the context, the model has the state of this run and not that of other runs.
    """

    def __init__(self, model: Any) -> None:
        self._modules = [
            module
            for module in model.modules()
            if module._buffers or _POSITION_STATE in vars(module)
        ]
        self._own = self._current()

    def __enter__(self) -> None:
        self._others = self._current()
        self._set(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = self._current()
        self._set(self._others)

    def _current(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        return [(dict(module.__dict__), dict(module._buffers)) for module in self._modules]

    def _set(self, states: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        for module, (attributes, buffers) in zip(self._modules, states, strict=True):
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)


class Lockstep:
    """Runs of two models that proceed together.

    Args:
        sources: The runs of one model.
        results: The runs of the other on the same inputs, in the same order.
        places: For both models, the place of each parameter among all of them, by its identity.
        receive: Takes each result of the runs on an input, with the number of the input, as soon as
            both have it, so that it need not stay in memory; by default, the runs keep them.
    """

    def __init__(
        self,
        sources: Sequence[LockstepRun],
        results: Sequence[LockstepRun],
        places: tuple[Mapping[int, float], Mapping[int, float]],
        receive: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    ) -> None:
        self._sides = (list(sources), list(results))
        self._places = places
        self._receive = receive
        self._progress = {id(run): 0.0 for runs in self._sides for run in runs}
        self._equal: dict[tuple[int, int], bool] = {}

    def complete(self) -> None:
        """Continues all runs until they end, or until one of them fails."""
        try:
            for run in self._all():
                self._resume(run)
            while any(not run.is_done for run in self._all()):
                if any(run.error for run in self._all()):
                    return
                self._advance()
        finally:
            for run in self._all():
                run.abandon()

    def _all(self) -> list[LockstepRun]:
        return [run for runs in self._sides for run in runs]

    def _advance(self) -> None:
        waiting = [[run for run in runs if not run.is_done] for runs in self._sides]
        if self._is_the_same(*waiting):
            self._answer_together(*waiting)
            return
        # The run that is behind proceeds alone, until all are at the same place again.
        behind = min(self._place(side, run) for side in (0, 1) for run in waiting[side])
        for side in (0, 1):
            for run in waiting[side]:
                if self._place(side, run) == behind:
                    assert run.request is not None
                    self._progress[id(run)] = behind
                    self._resume(run, run.request.compute())

    def _resume(self, run: LockstepRun, answer: torch.Tensor | None = None) -> None:
        run.resume(answer)
        if self._receive is None:
            return
        for number, (source, result) in enumerate(zip(*self._sides, strict=True)):
            while source.results and result.results:
                self._receive(number, source.results.pop(0), result.results.pop(0))

    def _place(self, side: int, run: LockstepRun) -> float:
        """How far a run is; a parameter that precedes the last one is being used again."""
        assert run.request is not None
        position = self._places[side][id(run.request.matrix)]
        progress = self._progress[id(run)]
        whole = progress - progress % 1
        return whole + position + (whole + position < progress)

    def _is_the_same(self, sources: list[LockstepRun], results: list[LockstepRun]) -> bool:
        """Whether all runs need the same product, with the same inputs in both models."""
        if len(sources) != len(results) or not sources:
            return False
        one, other = sources[0].request, results[0].request
        assert one is not None
        assert other is not None
        for run, result in zip(sources, results, strict=True):
            asked, partner = run.request, result.request
            assert asked is not None
            assert partner is not None
            if asked.matrix is not one.matrix or partner.matrix is not other.matrix:
                return False
            if not have_same_bits(asked.input, partner.input):
                return False
        return self._are_equal(one, other)

    def _are_equal(self, one: Product, other: Product) -> bool:
        """Whether two products have the same parameters; each pair is read once."""
        key = (id(one.matrix), id(other.matrix))
        if key not in self._equal:
            self._equal[key] = _have_equal_parameters(one, other)
        return self._equal[key]

    def _answer_together(self, sources: list[LockstepRun], results: list[LockstepRun]) -> None:
        products = [run.request for run in sources if run.request is not None]
        inputs = [product.input for product in products]
        outputs = products[0].compute_together(inputs)
        del products, inputs
        for pair in zip(sources, results, strict=True):
            output = outputs.pop(0)
            for side, run in enumerate(pair):
                self._progress[id(run)] = self._place(side, run)
            one, other = pair
            # A copy, because a model may change it.
            self._resume(one, output.clone())
            self._resume(other, output)


def places_of(parameters: StreamedParameters) -> Mapping[int, float]:
    """The relative place of each parameter of a model, from 0 to 1, by its identity."""
    sizes = [(id(one), one.stored.numel()) for one in parameters.all()]
    total = sum(size for _, size in sizes) or 1
    places, before = {}, 0
    for key, size in sizes:
        places[key] = before / total
        before += size
    return places


def _have_equal_parameters(one: Product, other: Product) -> bool:
    if one.matrix.stored.shape != other.matrix.stored.shape or one.rows != other.rows:
        return False
    if (one.matrix.dtype, one.matrix.device) != (other.matrix.dtype, other.matrix.device):
        return False
    if (one.bias is None) != (other.bias is None):
        return False
    for rows in one.chunks():
        pairs: list[tuple[Parameter | torch.Tensor, Parameter | torch.Tensor]]
        pairs = [(one.matrix, other.matrix)]
        if one.bias is not None and other.bias is not None:
            pairs.append((one.bias, other.bias))
        for mine, theirs in pairs:
            values = one.rows_of(mine, rows, True), other.rows_of(theirs, rows, True)
            if not have_same_bits(*values, are_cached=False):
                return False
    return True

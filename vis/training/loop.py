"""The training loop of the HQ head: one step, its schedule, and a state that can be gone on from.

Only the 25 HQ tensors are ever handed to the optimiser, and a fingerprint over all other bytes is
compared whenever a state is saved. Step k draws samples k * batch to (k + 1) * batch of the source,
each from a generator seeded with its number alone: a run that was stopped and resumed is the run that
was not. Under ``torchrun`` every process takes its share of a step's samples, and gradients are summed
over processes; the result does not depend on how many there are, up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.errors import CheckpointError, UsageError, VisError
from vis.files import whole_file
from vis.hqsam import SamModel
from vis.training.frozen import frozen_fingerprint, head_parameters
from vis.training.losses import mask_loss, sample_points, sample_values
from vis.training.samples import HeadSample, hq_logits, to_device

__all__ = ["HeadTrainer", "Recipe", "SampleSource", "StepReport", "fit"]


class SampleSource(Protocol):
    """Endless training samples by number."""

    def samples(self, indices: Sequence[int]) -> HeadSample:
        """The samples of these numbers, stacked; the same number always gives the same sample."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the result of a training run, beside data and starting weights."""

    steps: int = 900
    """Optimiser steps of the whole run; the learning rate falls to 2 % along a cosine until then."""
    batch: int = 48
    """Samples per step, over all processes."""
    chunk: int = 48
    """Samples in one pass; gradients accumulate over a batch's chunks."""
    lr: float = 3e-4
    """Peak learning rate of Adam (betas 0.9 and 0.999, no weight decay)."""
    maskfeature_lr: float = 0.3
    """Share of the learning rate for ``embedding_maskfeature``, which starts as a pass-through."""
    mlp_lr: float = 0.3
    """Share for ``hf_mlp`` and ``hf_token``, which start as SAM's own."""
    warmup: int = 50
    """Steps over which the learning rate rises."""
    points: int = 0
    """Points per sample at which the masks are compared, drawn near the contour as in the paper; 0 compares
    every cell, which suits windows that lie on the contour anyway."""
    sum_weight: float = 1.0
    """Weight of the loss on SAM + HQ logits, which is what inference uses by default."""
    hq_weight: float = 0.3
    """Weight of the loss on the HQ logits alone, as in the paper."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.995
    """Decay of the running average of the weights, which is what is evaluated and exported."""
    bfloat16: bool = False
    """Run the head's layers in bfloat16 where autocast deems it sound."""
    train_token: bool = False
    """Train ``hf_token`` too; only with a source that decodes live, because cached results are fixed."""
    seed: int = 0
    """Of everything drawn."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step in numbers: means over its samples."""

    step: int
    """Steps done so far, from 1."""
    lr: float
    sum_bce: float
    sum_dice: float
    hq_bce: float
    hq_dice: float
    gradient: float
    """Norm before clipping."""


class HeadTrainer:
    """A model whose HQ head is trained, its optimiser, and the running average of the head."""

    def __init__(self, model: SamModel, recipe: Recipe) -> None:
        if not model.has_hq:
            raise UsageError("the model has no HQ branch; give it one with vis.training.frozen.initial_head")
        if recipe.steps < 1 or recipe.batch < 1:
            raise UsageError(f"steps {recipe.steps} and batch {recipe.batch} must both be at least 1")
        self.model = model.eval()  # frozen batch statistics; nothing in the head depends on the mode
        self.recipe = recipe
        self.step = 0
        self.head = head_parameters(model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self._trained = {
            name: p for name, p in self.head.items() if recipe.train_token or "hf_token" not in name
        }
        for parameter in self._trained.values():
            parameter.requires_grad_(True)
        self.optimiser = torch.optim.Adam(self._groups(), lr=recipe.lr)
        self.average = {name: p.detach().clone() for name, p in self.head.items()}
        self.fingerprint = frozen_fingerprint(model)

    def train_step(self, source: SampleSource) -> StepReport:
        """Do the next step."""
        recipe = self.recipe
        lr = self.learning_rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["share"]
        self.optimiser.zero_grad(set_to_none=True)
        rank, processes = _place_in_group()
        first = self.step * recipe.batch
        mine = range(first + rank, first + recipe.batch, processes)
        totals = torch.zeros(4, dtype=torch.float64)
        for at in range(0, len(mine), recipe.chunk):
            chunk = to_device(source.samples(mine[at : at + recipe.chunk]), self.model.device)
            totals += self._backward(chunk, mine[at])
        self._sum_over_processes(totals, processes)
        norm = torch.nn.utils.clip_grad_norm_(list(self._trained.values()), recipe.clip)
        if not bool(torch.isfinite(norm)):
            raise VisError(
                f"step {self.step + 1}: the gradient is not finite; lower --lr, or leave bfloat16 out"
            )
        self.optimiser.step()
        self.step += 1
        self._update_average()
        means = (totals / recipe.batch).tolist()
        return StepReport(self.step, lr, means[0], means[1], means[2], means[3], float(norm))

    def learning_rate(self, step: int) -> float:
        """Rises for ``warmup`` steps, then falls along a cosine to 2 % of the peak."""
        recipe = self.recipe
        rise = min(1.0, (step + 1) / max(1, recipe.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))
        return recipe.lr * rise * (0.02 + 0.98 * fall)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by their share of the learning rate."""
        shares = {
            name: self.recipe.maskfeature_lr
            if ".embedding_maskfeature." in name
            else self.recipe.mlp_lr
            if ".hf_" in name
            else 1.0
            for name in self._trained
        }
        return [
            {"params": [p for name, p in self._trained.items() if shares[name] == share], "share": share}
            for share in sorted(set(shares.values()))
        ]

    def averaged_head(self) -> dict[str, Tensor]:
        """The head to evaluate and export, by official names."""
        return {name: tensor.clone() for name, tensor in self.average.items()}

    def check_frozen(self) -> None:
        """Raise VisError when a byte outside the head has changed since the start."""
        if frozen_fingerprint(self.model) != self.fingerprint:
            raise VisError("frozen weights have changed during training; this run's head cannot be trusted")

    def save(self, path: str | Path) -> None:
        """Write everything that going on needs, whole or not at all."""
        self.check_frozen()
        state = {
            "step": self.step,
            "recipe": asdict(self.recipe),
            "fingerprint": self.fingerprint,
            "head": {name: p.detach().cpu() for name, p in self.head.items()},
            "average": {name: t.cpu() for name, t in self.average.items()},
            "optimiser": self.optimiser.state_dict(),
        }
        with whole_file(path) as part:
            torch.save(state, part)

    def resume(self, path: str | Path) -> None:
        """Go on from a state that :meth:`save` wrote, on the same frozen weights and with the same recipe."""
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            step, fingerprint = int(state["step"]), state["fingerprint"]
        except FileNotFoundError as error:
            raise CheckpointError(f"{path}: no such file; there is no run to go on from") from error
        except Exception as error:  # torch raises a dozen kinds for a broken file
            raise CheckpointError(f"{path}: is no training state, or is truncated ({error})") from error
        if fingerprint != self.fingerprint:
            raise CheckpointError(f"{path}: was trained on other SAM weights; give the same --model")
        if state["recipe"] != asdict(self.recipe):
            changed = [k for k, v in asdict(self.recipe).items() if state["recipe"].get(k) != v]
            raise UsageError(
                f"{path}: the run had another {', '.join(changed)}; give the same options to go on, or "
                "start a new run in another folder"
            )
        with torch.no_grad():
            for name, parameter in self.head.items():
                parameter.copy_(state["head"][name])
                self.average[name].copy_(state["average"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = step

    def _backward(self, samples: HeadSample, index: int) -> Tensor:
        """Add the gradient of stacked samples; the sums of their four loss terms, detached."""
        recipe = self.recipe
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=recipe.bfloat16):
            hq = hq_logits(self.model.mask_decoder, samples)[:, None]
        both = hq + samples.sam_logits[:, None].float()
        truth, weight = samples.probability[:, None] / 255, samples.pixel_weight[:, None] / 255
        if recipe.points:
            generator = torch.Generator(both.device).manual_seed((recipe.seed * 1_000_003 + index) % 2**63)
            points = sample_points(both, recipe.points, generator=generator)
            sampled = [sample_values(maps, points) for maps in (both, hq, truth, weight)]
        else:
            cells = (F.avg_pool2d(truth, 4), F.avg_pool2d(weight, 4))
            sampled = [maps.flatten(1) for maps in (both, hq, *cells)]
        terms = [*mask_loss(sampled[0], *sampled[2:]), *mask_loss(sampled[1], *sampled[2:])]
        loss = recipe.sum_weight * (terms[0] + terms[1]) + recipe.hq_weight * (terms[2] + terms[3])
        share = len(hq) / recipe.batch
        (loss * share).backward()  # type: ignore[no-untyped-call]
        return torch.stack([term.detach() for term in terms]).double().cpu() * len(hq)

    def _sum_over_processes(self, totals: Tensor, processes: int) -> None:
        if processes == 1:
            return
        import torch.distributed as dist

        for parameter in self._trained.values():
            if parameter.grad is None:  # a process without a sample in this step
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in self._trained.values() if p.grad is not None])
        dist.all_reduce(flat)
        at = 0
        for parameter in self._trained.values():
            parameter.grad = flat[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        shared = totals.to(self.model.device, torch.float32)
        dist.all_reduce(shared)
        totals.copy_(shared.double().cpu())

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average follows quickly, so that it forgets the starting weights.
        decay = min(self.recipe.average, (self.step + 1) / (self.step + 10))
        for name, parameter in self.head.items():
            self.average[name].mul_(decay).add_(parameter.detach(), alpha=1 - decay)


def fit(
    trainer: HeadTrainer,
    source: SampleSource,
    *,
    folder: Path | None = None,
    save_every: int = 200,
    evaluate_every: int = 0,
    evaluate: Callable[[Mapping[str, Tensor]], float] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    on_score: Callable[[int, float, bool], None] | None = None,
) -> dict[str, Tensor]:
    """Train until the recipe's last step and return the best head, or the last one without ``evaluate``.

    Args:
        trainer: new or resumed.
        source: of samples.
        folder: gets ``state.pt`` every ``save_every`` steps and at the end, and ``best.safetensors``.
            None keeps nothing.
        save_every: steps between saved states.
        evaluate_every: steps between evaluations; 0 evaluates at the end only.
        evaluate: score of a head by official names; higher is better.
        on_step: told of each step.
        on_score: told of each evaluation: step, score, and whether it is the best so far.
    """
    from vis.training.export import read_head, save_head

    main = _place_in_group()[0] == 0
    best_path = None if folder is None else folder / "best.safetensors"
    best, best_score = trainer.averaged_head(), -math.inf
    if trainer.step and evaluate and best_path is not None and best_path.is_file():
        best = read_head(best_path)
        best_score = evaluate(best)
    steps = trainer.recipe.steps
    while trainer.step < steps:
        report = trainer.train_step(source)
        if on_step and main:
            on_step(report)
        last = trainer.step == steps
        if folder is not None and main and (last or trainer.step % save_every == 0):
            trainer.save(folder / "state.pt")
        due = last or (evaluate_every and trainer.step % evaluate_every == 0)
        if evaluate and main and due:
            score = evaluate(trainer.averaged_head())
            better = score > best_score
            if better:
                best, best_score = trainer.averaged_head(), score
                if best_path is not None:
                    save_head(best_path, best)
            if on_score:
                on_score(trainer.step, score, better)
    trainer.check_frozen()
    return best if evaluate else trainer.averaged_head()


def _place_in_group() -> tuple[int, int]:
    """(rank, number of processes) under torch.distributed; (0, 1) without."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1

"""``vistubes train prepare|fit|measure|export``: an HQ head for a frozen SAM, from data to file."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import number, positive, whole
from apps.verbs.train_data import add_data, add_mix, add_removed, live_views, masked_images, shares_of
from vis.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from vis.hqsam import SamModel
    from vis.hqsam.network.checkpoints import State
    from vis.training.loop import HeadTrainer, Recipe, SampleSource, StepReport

__all__ = ["configure", "run"]

_PROMPTS_HELP = (
    "prompts of live views and their chances, from box, 'jittered box', points, mask, 'box and mask' "
    "(default: mostly boxes)"
)

_EPILOG = """examples:
  on a CPU, from images with masks (their frozen features are cached once):
    vistubes train prepare --images set/ --coco instances.json photos/ --out cache
    vistubes train fit --cache cache --out runs/head

  on a GPU, views made while it trains, the HQ token trained too:
    vistubes train fit --images set/ --train-token --window 0 --points 12544 --batch 32 --chunk 32 \\
        --out runs/head

  on GPUs, from HQSeg-44K:
    torchrun --nproc-per-node 8 -m apps.cli train fit --model sam-l --hqseg44k data/ --train-token \\
        --device cuda --bfloat16 --points 12544 --window 0 --batch 32 --steps 16500 --out runs/hq-l

  a stopped run goes on:      vistubes train fit ... --resume
  a head in use:              vistubes run clip.mp4 --model runs/head/hq.pth
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's own verbs and options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Train the HQ head (25 tensors) of HQ-SAM on a SAM that stays frozen."
    parser.epilog = _EPILOG
    verbs = parser.add_subparsers(dest="train_verb", metavar="{prepare,fit,measure,export}", required=True)
    _configure_prepare(verbs.add_parser("prepare", help="cache the frozen features of images with masks"))
    _configure_fit(verbs.add_parser("fit", help="train a head"))
    _configure_measure(verbs.add_parser("measure", help="mean IoU and boundary IoU of a head"))
    _configure_export(verbs.add_parser("export", help="merge a head with its SAM under official names"))
    for verb in verbs.choices.values():
        verb.add_argument("--model", default="sam-tiny", help="frozen SAM: name or file (default: sam-tiny)")
        verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
        verb.add_argument(
            "--seed", type=whole(0, 2**32 - 1), default=0, help="of everything drawn (default: 0)"
        )
        verb.add_argument("--json", action="store_true", help="print one JSON object to stdout")


def run(args: argparse.Namespace) -> int:
    """Do the chosen verb and return 0."""
    actions = {"prepare": _prepare, "fit": _fit, "measure": _measure, "export": _export}
    result = actions[args.train_verb](args)
    if args.json:
        print(json.dumps(result))
    return 0


def _configure_prepare(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, help="cache folder; gets a file per view")
    parser.add_argument("--views", type=positive, default=2, help="views per image (default: 2)")
    add_removed(parser, "--composites", "--cutouts", "--per-image")


def _configure_fit(parser: argparse.ArgumentParser) -> None:
    data = add_data(parser)
    data.add_argument(
        "--cache",
        nargs="+",
        default=[],
        metavar="FOLDER=SHARE",
        help="folders of cached views and their shares of the samples, instead of images",
    )
    data.add_argument("--prompts", nargs="+", default=[], metavar="KIND=CHANCE", help=_PROMPTS_HELP)
    data.add_argument(
        "--pool", type=positive, default=512, help="embedded views on the device (default: 512)"
    )
    data.add_argument(
        "--reuse", type=number(0, 1e6, above=True), default=4.0, help="samples per view (default: 4)"
    )
    data.add_argument("--workers", type=whole(0, 1024), help="processes that make views (default: cores - 1)")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--start", type=Path, metavar="HEAD", help="start from this head (safetensors)")
    parser.add_argument(
        "--valid", type=Path, metavar="FOLDER", help="images and masks that choose the best head"
    )
    parser.add_argument("--evaluate-every", type=positive, default=500, metavar="STEPS")
    parser.add_argument("--save-every", type=positive, default=200, metavar="STEPS")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--steps", type=positive, default=900)
    recipe.add_argument("--batch", type=positive, default=48, help="samples per step (default: 48)")
    recipe.add_argument("--chunk", type=positive, default=48, help="samples per pass; the rest accumulates")
    recipe.add_argument(
        "--lr", type=number(0, 1e3, above=True), default=3e-4, help="peak learning rate (default: 0.0003)"
    )
    recipe.add_argument(
        "--window",
        type=whole(0, 65_536),
        default=32,
        help="side of a sample in mask cells; 0: the whole grid (default: 32)",
    )
    recipe.add_argument(
        "--points", type=whole(0, 10**6), default=0, help="points compared per sample; 0: every cell"
    )
    recipe.add_argument(
        "--sum-weight", type=number(0, 1e6), default=1.0, help="loss weight of SAM + HQ (default: 1)"
    )
    recipe.add_argument(
        "--hq-weight", type=number(0, 1e6), default=0.3, help="loss weight of HQ alone (default: 0.3)"
    )
    recipe.add_argument("--train-token", action="store_true", help="train the HQ token too; needs images")
    recipe.add_argument("--bfloat16", action="store_true", help="encoder and head in bfloat16")
    add_mix(parser)
    add_removed(parser, "--targets", "--cutouts")


def _configure_measure(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--head", type=Path, required=True, help="safetensors file of the 25 tensors")
    parser.add_argument(
        "--prompts",
        nargs="+",
        default=["box"],
        metavar="KIND",
        help="box, mask, points1, points3, ... (default: box)",
    )


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--head", type=Path, required=True, help="safetensors file of the 25 tensors")
    parser.add_argument("--out", type=Path, required=True, help="merged checkpoint (.pth or .safetensors)")


def _prepare(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    from vis.hqsam.runtime.precision import low_precision_dtype
    from vis.training.frozen import FrozenSam, initial_head, with_head
    from vis.training.prepare import cache_views

    images = masked_images(args, valid=False)
    if not images:
        raise UsageError("prepare needs images with masks: --coco, --images or --hqseg44k")
    state = _sam_state(args.model)
    model = with_head(state, initial_head(state), device=args.device)
    frozen = FrozenSam(model, bfloat16=low_precision_dtype(model.device.type) == torch.bfloat16)
    made = cache_views(frozen, images, args.out, views=args.views, seed=args.seed, on_image=_say)
    return {"cache": str(args.out), "views": made}


def _fit(args: argparse.Namespace) -> dict[str, Any]:
    from vis.training.export import model_card, read_head, save_head, save_merged
    from vis.training.frozen import initial_head, with_head
    from vis.training.loop import HeadTrainer, fit

    main = _join_processes()
    state = _sam_state(args.model)
    head = read_head(args.start) if args.start else initial_head(state, seed=args.seed)
    model = with_head(state, head, device=args.device)
    recipe = _recipe(args)
    trainer = HeadTrainer(model, recipe)
    if args.resume:
        trainer.resume(args.out / "state.pt")
    elif (args.out / "state.pt").exists():
        raise UsageError(f"{args.out} holds a run; add --resume to go on, or choose another --out")
    source = _source(args, trainer)
    scores: dict[str, Any] = {}
    log = _event_log(args.out / "logs", trainer.step) if main else None
    told = _Reports(recipe.steps, log)
    with log or nullcontext():
        best = fit(
            trainer,
            source,
            folder=args.out,
            save_every=args.save_every,
            evaluate_every=args.evaluate_every,
            evaluate=_evaluator(args, state, scores) if args.valid else None,
            on_step=told.step,
            on_score=told.score,
        )
    if main:
        digest = save_head(args.out / "hq.safetensors", best)
        save_merged(args.out / "hq.pth", state, best)
        model_card(
            args.out / "MODEL_CARD.md",
            title=f"HQ head for {model.size.name}",
            recipe={**asdict(recipe), "frozen weights (SHA-256)": trainer.fingerprint},
            scores=scores or {"none": "give --valid to measure"},
            command=shlex.join(["vistubes", *sys.argv[1:]]),
        )
        scores["sha256"] = digest
    return {"run": str(args.out), "steps": trainer.step, **scores}


def _event_log(folder: Path, done: int) -> SummaryWriter | None:
    """TensorBoard's log in ``folder``, gone on with after ``done`` steps; None, said once, without tensorboard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _say("no log is written: tensorboard is not installed; pip install 'vis-tubes[train]'")
        return None
    # A killed run has logged steps past its last saved state: they are done again, and hidden.
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None, flush_secs=10)


class _Reports:
    """Tells of steps and scores on stderr and, where there is one, in TensorBoard's log."""

    def __init__(self, steps: int, log: SummaryWriter | None) -> None:
        self.steps = steps
        self.log = log

    def step(self, report: StepReport) -> None:
        """``on_step`` of ``vis.training.loop.fit``."""
        values = asdict(report)
        step = values.pop("step")
        if self.log:
            for name, value in values.items():
                self.log.add_scalar(f"train/{name}", value, step)
        if step % 50 == 0 or step == self.steps:
            _say(f"step {step} of {self.steps}: SAM+HQ {report.sum_bce:.4f} {report.sum_dice:.4f}")

    def score(self, step: int, score: float, best: bool) -> None:
        """Likewise ``on_score``."""
        if self.log:
            self.log.add_scalar("valid/mean_boundary_and_mask_iou", score, step)
        _say(f"step {step}: score {score:.4f}{', the best so far' if best else ''}")


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from vis.hqsam import build_model
    from vis.training.evaluate import evaluate
    from vis.training.export import read_head
    from vis.training.frozen import with_head

    state = _sam_state(args.model)
    model = with_head(state, read_head(args.head), device=args.device)
    plain = build_model(state, mode="exact").to(model.device)
    found = evaluate(model, masked_images(args, valid=True), plain=plain, kinds=args.prompts, seed=args.seed)
    for kind, rows in found.items():
        for name, score in sorted(rows.items()):
            _say(
                f"{kind:9s} {name:5s} mIoU {score.iou:.4f}  mBIoU {score.boundary_iou:.4f}  n {score.objects}"
            )
    return {kind: {name: asdict(score) for name, score in rows.items()} for kind, rows in found.items()}


def _export(args: argparse.Namespace) -> dict[str, Any]:
    from vis.training.export import read_head, save_merged

    save_merged(args.out, _sam_state(args.model), read_head(args.head))
    _say(f"{args.out}: SAM and head under official names")
    return {"checkpoint": str(args.out)}


def _sam_state(name: str) -> State:
    """Tensors of a plain SAM by name or file; a head that it may hold is left behind."""
    from vis import weights
    from vis.hqsam import hq_parameter_names
    from vis.hqsam.network.checkpoints import read_state

    path = weights.path(weights.MODELS[name].weights) if name in weights.MODELS else Path(name)
    if not path.is_file():
        known = ", ".join(weights.MODELS)
        raise UsageError(f"{name} is neither a file nor a known model; known models: {known}")
    hq = hq_parameter_names("vit_b")
    return {key: tensor for key, tensor in read_state(path).items() if key not in hq}


def _recipe(args: argparse.Namespace) -> Recipe:
    from vis.training.loop import Recipe

    return Recipe(
        steps=args.steps,
        batch=args.batch,
        chunk=args.chunk,
        lr=args.lr,
        points=args.points,
        sum_weight=args.sum_weight,
        hq_weight=args.hq_weight,
        bfloat16=args.bfloat16,
        train_token=args.train_token,
        seed=args.seed,
    )


def _source(args: argparse.Namespace, trainer: HeadTrainer) -> SampleSource:
    from vis.training.frozen import FrozenSam
    from vis.training.prompts import MIX
    from vis.training.sources import CachedSource
    from vis.training.stream import PooledSource

    if args.cache:
        if args.train_token:
            raise UsageError("--train-token needs images: a cache holds what the first HQ token gave")
        folders = {Path(name): share for name, share in shares_of("--cache", args.cache).items()}
        return CachedSource(folders, seed=args.seed, window=args.window or 256)
    rank, processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    return PooledSource(
        live_views(args),
        FrozenSam(trainer.model, bfloat16=args.bfloat16),
        pool=args.pool,
        reuse=args.reuse,
        workers=max(0, (os.cpu_count() or 1) - 1) if args.workers is None else args.workers,
        window=args.window,
        train_token=args.train_token,
        mix=shares_of("--prompts", args.prompts, known=tuple(MIX)) or None,
        rank=rank,
        processes=processes,
    )


def _evaluator(
    args: argparse.Namespace, state: State, scores: dict[str, Any]
) -> Callable[[Mapping[str, Tensor]], float]:
    """A function that scores a head on --valid: the mean of mean IoU and mean boundary IoU, boxes."""
    from vis.training.datasets import image_folder
    from vis.training.evaluate import evaluate
    from vis.training.frozen import with_head

    images = image_folder(args.valid)

    def score(head: Mapping[str, Tensor]) -> float:
        model: SamModel = with_head(state, head, device=args.device)
        found = evaluate(model, images, seed=args.seed)["box"]["sum"]
        scores.update(mean_iou=found.iou, mean_boundary_iou=found.boundary_iou, objects=found.objects)
        return (found.iou + found.boundary_iou) / 2

    return score


def _join_processes() -> bool:
    """Join torchrun's group when there is one; whether this is the process that writes."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo")
    return dist.get_rank() == 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)

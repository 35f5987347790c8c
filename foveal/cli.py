"""The command line: ``foveal COMMAND …``; the scripts under tools/ are some of its commands."""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from foveal.errors import FovealError
from foveal.interrupt import Interrupt

MODEL = "a config, or a name: of a whole model in the zoo, of foveal.list_restorers() or foveal.list_backbones()"


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 when it did what it was asked, 2 with one sentence when the user can mend it.

    Args:
        argv: Words after ``foveal``; default: those of the process.
    """
    arguments = _parser().parse_args(argv)
    warnings.filterwarnings("ignore", module="mmengine|mmcv|albumentations|timm")
    interrupt = Interrupt()
    if argv is None:
        interrupt.install()
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever reads the output, such as head, has enough; at the exit Python would flush it and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        # libraries catch a KeyboardInterrupt and raise something else
        if interrupt.came:
            sys.exit(130)
        if arguments.debug or not isinstance(error, FovealError):
            raise
        print(f"foveal: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)


def _sentence(error: Exception) -> str:
    """The message; of an error in a data worker, the one that the worker raised."""
    text = str(error)
    if text.startswith("Caught "):
        found = re.findall(r"^foveal\.errors\.\w+: (.*)", text, flags=re.MULTILINE | re.DOTALL)
        text = found[-1] if found else text
    return text.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="foveal", description="Vision backbones and dense prediction for PyTorch.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--cfg-options",
        nargs="+",
        action=_OptionAction,
        metavar="KEY=VALUE",
        help="override keys of the config: model.backbone.depth=18 train_cfg.max_epochs=2",
    )
    running = argparse.ArgumentParser(add_help=False)
    running.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/<config name>)")
    running.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    # torch.distributed.launch passes it; torchrun sets the environment instead
    running.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)

    def command(name: str, run: Callable[[Any], None], text: str, *parents: argparse.ArgumentParser) -> Any:
        sub = commands.add_parser(name, help=text, description=text, parents=[common, *parents])
        sub.set_defaults(run=run)
        return sub

    sub = command("train", _train, "Train what a config describes.", options, running)
    sub.add_argument("config")
    sub.add_argument(
        "--resume", nargs="?", const="auto", metavar="auto|CKPT", help="go on from the last, or this, checkpoint"
    )
    sub.add_argument("--amp", action="store_true", help="automatic mixed precision")
    sub.add_argument("--auto-scale-lr", action="store_true", help="scale the learning rate with the batch size")

    sub = command("test", _test, "Evaluate a checkpoint on the config's test data.", options, running)
    sub.add_argument("config")
    sub.add_argument("checkpoint")
    sub.add_argument("--out", help="write predictions: a .json file, or a folder for pictures")
    sub.add_argument("--show-dir", help="draw ground truth beside prediction into this folder")
    sub.add_argument("--tta", action="store_true", help="merge predictions for several sizes and flips of an image")

    sub = command("predict", _predict, "Predict on images and videos.", options)
    sub.add_argument("model", help=MODEL)
    sub.add_argument("checkpoint", help="of the model; 'zoo' for the released one of a name")
    sub.add_argument("inputs", nargs="+", help="images, videos, folders, patterns such as 'a/*.jpg', URLs")
    sub.add_argument("--out", default="predictions", help="folder for pictures and predictions (default: predictions)")
    sub.add_argument(
        "--save",
        nargs="+",
        default=["overlay", "json", "mask"],
        metavar="FORM",
        help="overlay, json (COCO results), yolo (text files), mask (PNG); default: overlay json mask",
    )
    sub.add_argument("--score-thr", type=float, default=0.3, help="draw detections from this score on (default: 0.3)")
    sub.add_argument("--batch-size", type=int, default=1, help="images at once (default: 1)")
    sub.add_argument("--device", help="default: cuda where there is one, else cpu")

    deployed = argparse.ArgumentParser(add_help=False)
    deployed.add_argument("model", help=MODEL)
    deployed.add_argument("checkpoint", nargs="?", help="default: random weights")
    deployed.add_argument("--size", default="512x512", metavar="HxW", help="of the input in pixels (default: 512x512)")
    deployed.add_argument("--batch", type=int, default=1, help="images at once (default: 1)")
    deployed.add_argument("--half", action="store_true", help="compute in float16")

    text = "Write a model as ONNX, TensorRT, …: one file that runs without Foveal."
    sub = command("export", _export, text, options, deployed)
    sub.add_argument("--format", default="onnx", help="onnx (default), torch_export, torchscript, openvino or tensorrt")
    sub.add_argument("--out", help="file (default: exported/<name of the config>, with the format's suffix)")
    sub.add_argument("--dynamic", action="store_true", help="take other heights and widths, too")
    sub.add_argument("--raw", action="store_true", help="give the last layers' outputs, without post-processing")
    sub.add_argument("--int8", nargs="+", metavar="IMAGES", help="compute in int8, in ranges that these images have")
    sub.add_argument("--log-bits", type=int, metavar="BITS", help="with --int8: AdaLog's codes after softmax and GELU")

    sub = command("benchmark", _benchmark, "Time a model in several runtimes, side by side.", options, deployed)
    sub.add_argument(
        "--backends", nargs="+", default=["eager", "compiled", "onnx"], metavar="NAME", help="also a format of export"
    )
    sub.add_argument("--repeats", type=int, default=10, help="rounds that count (default: 10)")
    sub.add_argument("--threads", type=int, help="of the CPU")

    sub = command("restore", _restore, "Restore pictures and videos.")
    sub.add_argument("model", help="a name of foveal.list_restorers(), or a config")
    sub.add_argument("checkpoint")
    sub.add_argument("inputs", nargs="+", help="images, videos or folders of images")
    sub.add_argument("--out", default="restored", help="folder for the results (default: restored)")
    sub.add_argument("--tile", type=int, help="restore in tiles of this side, for large images")
    sub.add_argument("--tile-overlap", type=int, default=32, help="pixels that tiles share (default: 32)")
    sub.add_argument("--self-ensemble", action="store_true", help="average over the eight flips and turns")
    sub.add_argument("--device", help="default: cuda where there is one, else cpu")

    sub = commands.add_parser("config", help="Show or compare resolved configs.")
    inner = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = inner.add_parser("show", help="every key with the file and line it comes from", parents=[common, options])
    show.add_argument("config")
    show.add_argument("--diff", metavar="OTHER", help="show only what differs from this config")
    show.set_defaults(run=_config_show)

    sub = commands.add_parser("data", help="Check or look at a config's data.")
    inner = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = inner.add_parser("check", help="read all of a data set, report every problem", parents=[common, options])
    browse = inner.add_parser("browse", help="draw transformed samples with their labels", parents=[common, options])
    for action, run in ((check, _data_check), (browse, _data_browse)):
        action.add_argument("config")
        action.add_argument("--phase", choices=("train", "val", "test"), help="default: train; check: all phases")
        action.set_defaults(run=run)
    pack = inner.add_parser("pack", help="decode a folder of images into one file, for training", parents=[common])
    pack.add_argument("folder")
    pack.add_argument("file", help="*.safetensors")
    pack.set_defaults(run=_data_pack)
    browse.add_argument("--out", default="browse", help="folder for the pictures (default: browse)")
    browse.add_argument("--count", type=int, default=16, help="how many samples")

    sub = commands.add_parser("runs", help="List or compare runs.")
    inner = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    all_runs = inner.add_parser("list", help="a line for each run below a folder", parents=[common])
    all_runs.add_argument("folder", nargs="?", default="work_dirs", help="default: work_dirs")
    all_runs.set_defaults(run=_runs_list)
    against = inner.add_parser("compare", help="what differs between runs, and their best scores", parents=[common])
    against.add_argument("folders", nargs="+", help="of runs, or above several")
    against.add_argument("--plot", metavar="PNG", help="draw their curves over each other")
    against.set_defaults(run=_runs_compare)

    sub = commands.add_parser("zoo", help="Look up the weights that were released.")
    inner = sub.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = inner.add_parser("list", help="a line for each file", parents=[common])
    listing.add_argument("pattern", nargs="?", default="*", help="of the file's or the network's name: 'convnext*'")
    listing.set_defaults(run=_zoo_list)
    info = inner.add_parser("info", help="all that is known of one file", parents=[common])
    info.add_argument("name")
    info.set_defaults(run=_zoo_info)
    fetching = inner.add_parser("download", help="fetch files into the cache", parents=[common])
    fetching.add_argument("names", nargs="+", metavar="NAME", help="of files or networks; wildcards allowed")
    fetching.set_defaults(run=_zoo_download)
    verifying = inner.add_parser("verify", help="compare the files in the cache with their hashes", parents=[common])
    verifying.add_argument("pattern", nargs="?", default="*", help="of the file's or the network's name")
    verifying.set_defaults(run=_zoo_verify)
    taking = inner.add_parser("import", help="write an official file as safetensors of ours", parents=[common])
    taking.add_argument("name", help="of the network: foveal.list_backbones(), foveal.list_restorers()")
    taking.add_argument("checkpoint", help="the official file, or its URL")
    taking.add_argument("out", help="*.safetensors")
    taking.add_argument("--kind", choices=("classifier", "backbone"), help="default: what the file fits")
    taking.add_argument(
        "--arguments", nargs="*", action=_OptionAction, default={}, metavar="K=V", help="of the network"
    )
    taking.set_defaults(run=_zoo_import)
    table = inner.add_parser("table", help="the tables of model_zoo.md", parents=[common])
    table.add_argument("--write", nargs="?", const="model_zoo.md", metavar="PAGE", help="put them into this page")
    table.add_argument("--check", nargs="?", const="model_zoo.md", metavar="PAGE", help="fail if the page has others")
    table.set_defaults(run=_zoo_table)

    sub = command("app", _app, "A web page: choose a model, drop a picture, see the result.")
    sub.add_argument("models", nargs="+", metavar="MODEL[=CHECKPOINT]", help="configs or names of networks")
    sub.add_argument("--port", type=int, default=7860, help="default: 7860")
    sub.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: 127.0.0.1)")
    sub.add_argument("--device", help="default: cuda where there is one, else cpu")

    command("doctor", _doctor, "Show versions, devices and what works here.")
    return parser


class _OptionAction(DictAction):
    """``KEY=VALUE`` words to a dict; values are Python literals where they can be, else as mmengine reads them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values:
            key, equals, value = word.partition("=")
            if not equals:
                parser.error(f"argument {option_string}: expected KEY=VALUE, got {word!r}")
            try:
                options[key] = ast.literal_eval(_DictCalls().visit(ast.parse(value, mode="eval")))
            except (ValueError, SyntaxError):
                options[key] = self._parse_iterable(value)
        setattr(namespace, self.dest, options)


class _DictCalls(ast.NodeTransformer):
    """``dict(type='SGD')``, as configs write it, to the literal ``{'type': 'SGD'}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args
        if not named or any(keyword.arg is None for keyword in node.keywords):
            return node
        keys: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def _train(a: argparse.Namespace) -> None:
    from foveal.engine.launch import train
    from foveal.engine.processes import leave_group

    train(a.config, a.work_dir, a.resume, a.amp, a.auto_scale_lr, a.cfg_options, a.launcher)
    leave_group()


def _test(a: argparse.Namespace) -> None:
    from mmengine.dist import is_main_process

    from foveal.engine.launch import test
    from foveal.engine.processes import leave_group

    metrics = test(a.config, a.checkpoint, a.work_dir, a.out, a.show_dir, a.cfg_options, a.launcher, a.tta)
    if is_main_process():
        print("\n".join(f"{name}: {value:.4f}" for name, value in metrics.items()))
    leave_group()


def _predict(a: argparse.Namespace) -> None:
    from foveal import inference

    images, videos = inference.find_inputs(a.inputs)
    model = _named_model(a.model, a.checkpoint, a.device, a.cfg_options)
    written = inference.predict_images(model, images, a.out, a.save, a.score_thr, a.batch_size)
    count = sum(1 for _ in _progress(written, "predict", len(images)))
    for path in videos:
        inference.predict_video(model, path, a.out, a.score_thr)
    print(f"{count} images and {len(videos)} videos predicted; results in {a.out}")


def _export(a: argparse.Namespace) -> None:
    from foveal.data.transforms.loading import read_image
    from foveal.export import export_model
    from foveal.inference import find_inputs

    size = _size(a.size)
    images = [read_image(str(path)) for path in find_inputs(a.int8)[0]] if a.int8 else None
    model = _named_model(a.model, a.checkpoint, "cpu", a.cfg_options)
    out = a.out or Path("exported") / Path(a.model).stem
    path = export_model(model, out, a.format, size, a.dynamic, a.half, not a.raw, a.batch, images, a.log_bits)
    print(f"written and checked: {path}")


def _benchmark(a: argparse.Namespace) -> None:
    from foveal.export import time_backends

    model = _named_model(a.model, a.checkpoint, "cpu", a.cfg_options)
    rows = time_backends(model, a.backends, _size(a.size), a.batch, a.half, a.repeats, a.threads)
    first = next((row["backend"] for row in rows if "ms" in row), "")
    for row in rows:
        figures = row.get("problem") or f"{row['ms']:10.2f} ms  {row['ratio']:6.2f} times as fast as {first}"
        print(f"{row['backend']:14}{figures}")


def _size(text: str) -> tuple[int, int]:
    height, times, width = text.partition("x")
    if not (times and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise FovealError(f"--size: expected HxW such as 512x640, got {text!r}")
    return int(height), int(width)


def _named_model(name: str, checkpoint: str | None, device: str | None, options: dict[str, Any] | None = None) -> Any:
    """The model of a config, or of a name."""
    from foveal import api

    return api.init_model(name, True if checkpoint == "zoo" else checkpoint, device, options)


def _restore(a: argparse.Namespace) -> None:
    import cv2

    import foveal
    from foveal.inference import find_inputs
    from foveal.models.tiling import check_tiles

    check_tiles(a.tile, a.tile_overlap)
    model = _named_model(a.model, a.checkpoint, a.device)
    model.test_cfg |= {"tile": a.tile, "tile_overlap": a.tile_overlap, "self_ensemble": a.self_ensemble}
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    files, videos = find_inputs(a.inputs)
    for path in videos:
        foveal.restore_video(model, path, out / path.with_suffix(".mp4").name)
    for path in _progress(files, "restore"):
        cv2.imwrite(str(out / f"{path.stem}.png"), foveal.restore(model, path))
    print(f"{len(files)} images and {len(videos)} videos restored in {out}")


def _config_show(a: argparse.Namespace) -> None:
    from foveal.config import diff_configs, show_config

    lines = diff_configs(a.config, a.diff, a.cfg_options) if a.diff else show_config(a.config, a.cfg_options)
    for line in lines:
        print(line)


def _data_check(a: argparse.Namespace) -> None:
    from foveal.config import load_config
    from foveal.data.check import check_dataset
    from foveal.registry import DATASETS

    config = load_config(a.config, a.cfg_options)
    total, seen = 0, []
    for phase in [a.phase] if a.phase else ["train", "val", "test"]:
        node = (config.get(f"{phase}_dataloader") or {}).get("dataset")
        if node is None or node in seen:
            continue
        seen.append(node)
        # built lazily: what is wrong with the annotations is a finding too, not the end of the check
        report = check_dataset(DATASETS.build({**node, "lazy_init": True}), progress=partial(_progress, text=phase))
        for finding in report.findings:
            print(finding)
        print(f"{phase}: {report.summary()}")
        total += len(report.findings)
    if total:
        raise FovealError(f"{total} problem{'s' * (total > 1)} found in the data of {a.config}")


def _data_pack(a: argparse.Namespace) -> None:
    from foveal.data.packed import pack_images
    from foveal.data.transforms.loading import read_image
    from foveal.inference import find_inputs

    files, _ = find_inputs([a.folder])
    root = Path(a.folder)
    images = ((path.relative_to(root).as_posix(), read_image(str(path))) for path in _progress(files, "pack"))
    print(f"{pack_images(images, a.file)} images packed in {a.file}")


def _data_browse(a: argparse.Namespace) -> None:
    from foveal.config import load_config
    from foveal.registry import DATASETS
    from foveal.visualization.browse import browse_dataset

    config = load_config(a.config, a.cfg_options)
    phase = a.phase or "train"
    node = (config.get(f"{phase}_dataloader") or {}).get("dataset")
    if node is None:
        raise FovealError(f"{a.config} has no {phase}_dataloader.dataset")
    dataset = DATASETS.build(node)
    count = min(a.count, len(dataset))
    browse_dataset(dataset, Path(a.out), _progress(range(count), phase))
    print(f"{count} samples drawn in {a.out}")


def _zoo_list(a: argparse.Namespace) -> None:
    from foveal.zoo.index import list_weights
    from foveal.zoo.table import weight_lines

    weights = list_weights(a.pattern)
    if not weights:
        raise FovealError(f"the zoo has no weights that match {a.pattern!r}")
    print("\n".join(weight_lines(weights)))


def _zoo_info(a: argparse.Namespace) -> None:
    from foveal.zoo.index import get_weight
    from foveal.zoo.table import describe_weight

    print("\n".join(describe_weight(get_weight(a.name))))


def _zoo_download(a: argparse.Namespace) -> None:
    from foveal.zoo.fetch import fetch_weight
    from foveal.zoo.index import get_weight, list_weights

    for name in a.names:
        for weight in list_weights(name) or [get_weight(name)]:
            print(f"{weight.name}: {fetch_weight(weight)}")


def _zoo_verify(a: argparse.Namespace) -> None:
    from foveal.zoo.fetch import verify_weight
    from foveal.zoo.index import list_weights

    hashes = {weight.name: verify_weight(weight) for weight in list_weights(a.pattern)}
    found = {name: value for name, value in hashes.items() if value is not None}
    for name, value in found.items():
        print(f"{name}: {value}")
    print(f"{len(found)} of {len(hashes)} files are in the cache, all as they should be")


def _zoo_import(a: argparse.Namespace) -> None:
    from foveal.zoo.importing import import_checkpoint

    import_checkpoint(a.name, a.checkpoint, Path(a.out), a.kind, **a.arguments)
    print(f"written to {a.out}")


def _zoo_table(a: argparse.Namespace) -> None:
    from foveal.zoo.table import update_page, zoo_tables

    page = a.write or a.check
    if page is None:
        print(zoo_tables())
    elif not update_page(Path(page), write=a.write is not None) and not a.write:
        raise FovealError(f"{page} is not current: run `foveal zoo table --write {page}`")


def _runs_list(a: argparse.Namespace) -> None:
    from foveal.engine.runs import find_runs, list_lines

    print("\n".join(list_lines(find_runs(a.folder))))


def _runs_compare(a: argparse.Namespace) -> None:
    from foveal.engine.runs import compare_lines, find_runs
    from foveal.visualization.curves import plot_runs

    runs = [run for folder in a.folders for run in find_runs(folder)]
    print("\n".join(compare_lines(runs)))
    if a.plot:
        # a run that only tested has no curves
        curves = {run.name: run.scalars for run in runs if run.scalars.is_file()}
        print(f"curves in {plot_runs(curves, a.plot)}")


def _app(a: argparse.Namespace) -> None:
    from foveal.app import Models, build_app

    page = build_app(Models(a.models, a.device))
    try:
        page.launch(server_name=a.host, server_port=a.port, share=False)
    except OSError as error:
        raise FovealError(f"the page cannot be served at {a.host}:{a.port}: {error}") from error


def _doctor(a: argparse.Namespace) -> None:
    from foveal.doctor import report

    for line in report():
        print(line)


def _progress(items: Any, text: str, total: int | None = None) -> Any:
    """Items with a bar on a terminal, without one elsewhere."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, description=text, total=total, console=console) if console.is_terminal else items


if __name__ == "__main__":
    main()

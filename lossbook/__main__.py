"""The command line: `python -m lossbook list | show | compare | matrix`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except (ValueError, FileNotFoundError) as error:
        print(f"lossbook: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def _list(options: argparse.Namespace) -> int:
    from lossbook.losses import CATALOGUE

    family = None
    for card in sorted(CATALOGUE.values(), key=lambda c: (c.family, c.key)):
        if card.family != family:
            family = card.family
            print(f"\n{family}")
        print(f"  {card.key:<28} {card.summary}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from lossbook import tables
    from lossbook.losses import CATALOGUE

    if options.loss not in CATALOGUE:
        raise ValueError(_unknown(options.loss))
    card = CATALOGUE[options.loss]
    print(f"{card.name} (lossbook.{card.key}), family {card.family}, kind {card.kind}")
    print(card.summary)
    if card.formula is not None:
        print(f"\n  {card.formula.expr}    over {card.formula.variable}")
    for name, param in card.params.items():
        ends = f"{'(' if param.open_low else '['}{param.low:g}, {param.high:g}"
        ends += ")" if param.open_high else "]"
        print(f"  {name} = {param.default:g}, in {ends}: {param.meaning}")
    for name, words in card.options.items():
        print(f"  {name} = {words[0]}, or {', '.join(words[1:])}")
    print()
    for title, (value,) in tables.properties([card]).items():
        if title != "loss" and value != "":
            print(f"  {title}: {value if isinstance(value, str) else f'{value:.4g}'}")
    for case in card.special_cases:
        at = ", ".join(f"{name} = {value:g}" for name, value in case.params.items())
        scale = "" if case.factor == 1 else f"{case.factor:g} times "
        print(f"  at {at}: {scale}{case.of}")
    for peer, difference in card.peers.items():
        print(f"  {peer}: {difference or 'equal'}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    from lossbook import data
    from lossbook._compare import compare
    from lossbook.losses import CATALOGUE

    for loss in (options.candidate, options.baseline):
        if loss not in CATALOGUE:
            raise ValueError(_unknown(loss))
    source: Any = options.data
    if options.csv:
        source, names = data.read_csv(options.csv, label=options.label)
        print(f"{options.csv}: {len(source.labels)} rows, classes {', '.join(names)}")
    fields = ("train", "noise", "noise_rate", "imbalance", "outliers", "epochs")
    chosen = {name: getattr(options, name) for name in fields}
    found = compare(
        baseline=options.baseline,
        candidate=options.candidate,
        data=source,
        metric=options.metric,
        seeds=options.seeds,
        budget=options.budget,
        store=options.store,
        n_jobs=options.jobs,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    print(f"\n{found}")
    return 0


def _matrix(options: argparse.Namespace) -> int:
    from lossbook import matrix

    rows = matrix.stored(options.loss, options.condition)
    # The correction for several tests counts all losses, shown or not.
    found = matrix.summary(
        losses=options.loss,
        conditions=options.condition,
        stage="default" if options.default else "tuned",
        metric=options.metric,
    )
    print(f"{len(rows)} stored trainings; differences are to {matrix.BASELINE}.")
    print("p is Holm's, over all losses of the condition.")
    for name, part in found.groupby("condition", sort=False):
        [metric] = part["metric"].unique()
        better = "more" if matrix.METRICS[metric] else "less"
        print(f"\n{name}: {metric.replace('_', ' ')} ({better} is better)")
        print(f"  {matrix.CONDITIONS[str(name)].about}")
        ranked = part.sort_values("mean", ascending=not matrix.METRICS[metric])
        rows_of: list[Any] = list(ranked.itertuples())
        for row in rows_of:
            print(f"  {_cell(row)}".rstrip())
    return 0


def _cell(row: Any) -> str:
    """Return one loss under one condition, as a line."""
    start = f"{row.loss:<26} {row.mean:8.4f}"
    failed = f" ({row.failed} left the finite numbers)" if row.failed else ""
    if row.p != row.p:  # no test
        return f"{start}{failed}"
    verdict = {True: "better", False: "worse"}.get(row.better, "")
    return (
        f"{start}  {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f}), "
        f"p {row.p_holm:.2g} {verdict:<6} {row.setting}{failed}"
    )


def _unknown(loss: str) -> str:
    import difflib

    from lossbook.losses import CATALOGUE

    close = difflib.get_close_matches(loss, CATALOGUE, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return (
        f"the loss must be one of the catalogue (python -m lossbook list), got {loss!r}"
        f"{hint}"
    )


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m lossbook", description="Losses for classification, compared."
    )
    verbs = made.add_subparsers(required=True, metavar="COMMAND")

    listed = verbs.add_parser("list", help="all losses, a line each")
    listed.set_defaults(action=_list)

    show = verbs.add_parser("show", help="what the card of a loss says")
    show.add_argument("loss")
    show.set_defaults(action=_show)

    test = verbs.add_parser("compare", help="an A/B test of two losses")
    test.add_argument("candidate", help="the loss that wants the place")
    test.add_argument("baseline", help="the loss that is there")
    test.add_argument("--data", default="digits", help="a data set's name")
    test.add_argument("--csv", help="a table of your own instead")
    test.add_argument("--label", default="", help="its label column (default: last)")
    test.add_argument("--metric", default="accuracy", help="what decides")
    test.add_argument("--seeds", type=int, default=10, help="paired seeds")
    test.add_argument("--budget", type=int, default=5, help="settings a loss may try")
    test.add_argument("--train", type=int, help="training examples")
    test.add_argument("--noise", help="symmetric, pair or instance")
    test.add_argument("--noise-rate", type=float, help="share of wrong labels")
    test.add_argument("--imbalance", type=float, help="largest to smallest class")
    test.add_argument("--outliers", type=float, help="share of outliers")
    test.add_argument("--epochs", type=int, help="passes over the training part")
    test.add_argument("--store", help="a folder for finished trainings")
    test.add_argument("--jobs", type=int, help="processes")
    test.set_defaults(action=_compare)

    found = verbs.add_parser("matrix", help="what is stored of losses and conditions")
    found.add_argument("--loss", nargs="+", help="only these losses")
    found.add_argument("--condition", nargs="+", help="only under these conditions")
    found.add_argument("--metric", help="another than the one named beforehand")
    found.add_argument(
        "--default", action="store_true", help="default parameters, not the tuned ones"
    )
    found.set_defaults(action=_matrix)
    return made


if __name__ == "__main__":
    sys.exit(main())

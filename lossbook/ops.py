"""The few operations that the losses share."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossbook import kernels, validate
from lossbook.kernels import (
    Elementwise,
    below,
    finite,
    log_sigmoids,
    mixed_log,
    power,
    quick_,
    raised,
    sigmoid,
    softplus_and_slope,
    softplus_finite,
    times_log,
    underived,
)
from lossbook.modes import values_visible
from lossbook.shapes import (
    FirstSample,
    Labels,
    Logits,
    Masks,
    Parameter,
    PerExample,
    Pixels,
    Scores,
    SecondSample,
    Signs,
    Targets,
)

__all__ = [
    "at_label",
    "below",
    "binary_loss",
    "divergence_loss",
    "entropy_loss",
    "expm1",
    "finite",
    "label_margin",
    "label_surplus_loss",
    "log_sigmoids",
    "log_softened",
    "margin_loss",
    "mixed_log",
    "over_classes",
    "pair_squares",
    "power",
    "psi_loss",
    "quick_",
    "raised",
    "rival_max",
    "rival_sum",
    "rows",
    "shifted",
    "sigmoid",
    "soft_counts",
    "soft_loss",
    "softplus_and_slope",
    "softplus_finite",
    "surplus_loss",
    "surprise_loss",
    "times_log",
    "underived",
    "upcast",
]

HALVES = (torch.float16, torch.bfloat16)


def upcast(values: Tensor) -> Tensor:
    """Return half-precision values in float32, all others as they are.

    >>> upcast(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return values.float() if values.dtype in HALVES else values


def over_classes(parameter: Parameter) -> Parameter:
    """Return a parameter of the loss, shape (...), as one of the logits: (..., 1).

    >>> over_classes(torch.tensor([1.0, 2.0])).shape
    torch.Size([2, 1])
    >>> over_classes(0.5)
    0.5
    """
    return parameter[..., None] if isinstance(parameter, Tensor) else parameter


def expm1(values: Tensor) -> Tensor:
    """Return exp(x) - 1, with all digits in the derivative exp(x) as well.

    torch forms the derivative from the result, as (exp(x) - 1) + 1: where x is far
    below 0, nothing is left of it.

    >>> x = torch.tensor(-20.0, requires_grad=True)
    >>> torch.autograd.grad(expm1(x), x)
    (tensor(2.0612e-09),)
    """
    return torch.where(values < -1, values.exp() - 1, values.expm1())


def rows(table: Tensor, labels: Labels) -> Tensor:
    """Pick each example's row of a table (C, ...): table[labels].

    torch turns the single label of one example into a number, when it is written as an
    index; that fails where vmap takes the batch apart.

    >>> rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([[3., 4.],
            [1., 2.]])
    """
    picked = table.index_select(0, labels.reshape(-1).long())
    return picked.reshape(*labels.shape, *table.shape[1:])


def at_label(values: Logits, labels: Labels) -> PerExample:
    """Pick each example's entry at its label: values[..., labels[...]].

    >>> at_label(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    tensor([2., 3.])
    """
    return values.gather(-1, labels[..., None].long()).squeeze(-1)


def label_margin(logits: Logits, labels: Labels) -> PerExample:
    """Return m = z_y - logsumexp of the other logits: the log-odds of the true class.

    p_y = sigmoid(m) and 1 - p_y = sigmoid(-m), so both have all their digits, however
    close p_y is to 0 or to 1. A single class has no rivals; m is then very large.

    >>> label_margin(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor([2.])
    """
    index = labels[..., None].long()
    # Relative to the largest logit all differences are exact, also between huge ones.
    z = logits - logits.detach().amax(-1, keepdim=True)
    # A finite stand-in for -inf: logsumexp has no gradient where all is -inf.
    rivals = z.scatter(-1, index, torch.finfo(z.dtype).min / 4)
    return z.gather(-1, index).squeeze(-1) - rivals.logsumexp(-1)


def shifted(logits: Logits, offset: Tensor) -> Logits:
    """Return logits + offset, less each example's largest logit.

    For losses that no constant changes: differences of huge logits are exact, and an
    offset is not rounded away beside them.

    >>> shifted(torch.tensor([[1e8, 1e8 - 8]]), torch.tensor([0.0, 0.5]))
    tensor([[ 0.0000, -7.5000]])
    """
    return logits - logits.detach().amax(-1, keepdim=True) + offset


def soft_counts(
    scores: Pixels, targets: Masks
) -> tuple[PerExample, PerExample, PerExample]:
    """Return the expected true positives, false positives and false negatives.

    Sums over the last axis, with p = sigmoid(scores): of p t, p (1 - t), (1 - p) t.

    >>> soft_counts(torch.zeros(4), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    (tensor(0.5000), tensor(1.5000), tensor(0.5000))
    """
    p, not_p, t = scores.sigmoid(), (-scores).sigmoid(), targets.to(scores.dtype)
    return (p * t).sum(-1), (p * (1 - t)).sum(-1), (not_p * t).sum(-1)


def pair_squares(first: FirstSample, second: SecondSample) -> Tensor:
    """Return the squared distance of each point of one sample to each of the other.

    Sums of squared differences, not differences of squares, so that a point is at 0
    from itself exactly.

    >>> pair_squares(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[25.,  0.]])
    """
    return (first[:, None] - second).square().sum(-1)


def psi_loss(
    logits: Logits,
    labels: Labels,
    psi: Callable[..., Tensor],
    factor: Callable[..., Tensor],
    *,
    bias: Tensor | None = None,
    of_rivals: bool = False,
    **params: Parameter,
) -> PerExample:
    """Return psi(p_y) per example, for a loss of the true class's probability alone.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), integer classes.
        psi: the loss as a function of (log p_y, log(1 - p_y), **params). Nothing is
            subtracted near 1, so it stays right where p_y rounds to 1.
        factor: g(p) = -p psi'(p) of the same arguments; the gradient in the logits is
            g(p_y) (p - e_y). The plain form does not need it: autograd differentiates
            psi. The fused form does.
        bias: (C,), added to the logits of every example.
        of_rivals: add it to the rivals of the true class only; it is 0 or less then.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def psi(log_p, log_not_p):
    ...     return -log_p
    >>> def factor(log_p, log_not_p):
    ...     return torch.ones_like(log_p)
    >>> psi_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), psi, factor)
    tensor([0.1269])
    """
    validate.logits_and_labels(logits, labels, values=False)
    z = upcast(logits)
    psi_, factor_ = partial(psi, **params), partial(factor, **params)
    if bias is not None:
        bias = bias.to(z)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        if bias is not None:
            own = torch.arange(logits.shape[-1], device=z.device) == labels[..., None]
            logits = shifted(logits, bias.where(~own, 0.0) if of_rivals else bias)
        return psi_(*log_sigmoids(label_margin(logits, labels)))

    def form() -> kernels.Rows:
        return kernels.psi_rows(psi_, factor_, bias, kernels.is_large(z), of_rivals)

    # One bias for all examples, no gradient in it: else it is a parameter.
    fixed = bias is None or (bias.ndim == 1 and not bias.requires_grad)
    if of_rivals and bias is not None and fixed and values_visible(bias):
        # Without it, the label's exponential must still be a number.
        fixed = bias.amin().item() > kernels.FLOOR[torch.float32]
    others = [*params.values(), *[bias] * (not fixed)]
    return _rows_of_labels(z, labels, form, plain, *others)


def soft_loss(logits: Logits, targets: Targets) -> PerExample:
    """Return -sum_k q_k log p_k per example: cross-entropy against targets q.

    A class with target 0 adds nothing, also where its logit is -inf.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.

    Returns:
        (...), in float32 or wider.

    >>> soft_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.9, 0.1]]))
    tensor([0.3269])
    """

    def plain(logits: Tensor, targets: Tensor) -> Tensor:
        return -times_log(targets, logits.log_softmax(-1)).sum(-1)

    return _rows_of_targets(logits, targets, kernels.soft_block, plain, arrays=1)


def surplus_loss(
    logits: Logits,
    targets: Targets,
    value: Elementwise,
    slope: Elementwise,
    *,
    ordered: bool = False,
) -> PerExample:
    """Return the sum over the classes of value(p - q), of softmax and targets.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes.
        value: the loss as a function of the surplus; 0 where there is none.
        slope: its derivative, for the fused form, written over the surpluses; 0 where
            there is none.
        ordered: take the surplus of the classes up to each one, not of each one. That
            of all classes is 0.

    Returns:
        (...), in float32 or wider.

    >>> z, q = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    >>> surplus_loss(z, q, torch.abs, torch.Tensor.sign_)
    tensor([0.8000])
    """

    def plain(logits: Tensor, targets: Tensor) -> Tensor:
        surplus = logits.softmax(-1) - targets
        if ordered:
            surplus = surplus.cumsum(-1)[..., :-1]
        return value(surplus).sum(-1)

    block = partial(kernels.surplus_block, value=value, slope=slope, ordered=ordered)
    return _rows_of_targets(logits, targets, block, plain)


def label_surplus_loss(
    logits: Logits, labels: Labels, value: Elementwise, slope: Elementwise
) -> PerExample:
    """Return the sum over the classes of value(p - e_y): `surplus_loss` of labels.

    The one-hot targets are not formed.

    >>> z, y = torch.tensor([[0.0, 0.0]]), torch.tensor([0])
    >>> label_surplus_loss(z, y, torch.abs, torch.Tensor.sign_)
    tensor([1.])
    """
    validate.logits_and_labels(logits, labels, values=False)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        # 1 - p_y by its own sigmoid, so that it keeps its digits where p_y rounds to 1.
        missed = sigmoid(-label_margin(logits, labels))
        rivals = logits.softmax(-1).scatter(-1, labels[..., None].long(), 0.0)
        return value(-missed) + value(rivals).sum(-1)

    def form() -> kernels.Rows:
        block = partial(kernels.surplus_block, value=value, slope=slope)
        return kernels.Rows(block, arrays=2)

    return _rows_of_labels(logits, labels, form, plain)


def divergence_loss(
    logits: Logits, targets: Targets, *, temperature: Parameter
) -> PerExample:
    """Return T^2 KL(q_T || p_T) per example, targets and softmax softened alike.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        targets: (..., C), probabilities that sum to 1 over the classes; q_T is
            q^(1/T), divided by its sum.
        temperature: T, above 0; a float, or a tensor that broadcasts against the loss.

    Returns:
        (...), in float32 or wider.

    >>> z, q = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.5]])
    >>> divergence_loss(z, q, temperature=4.0)
    tensor([0.4949])
    """

    def plain(logits: Tensor, targets: Tensor) -> Tensor:
        impossible = targets == 0
        # A finite stand-in for log 0: divided by T, minus infinity has no slope in T.
        lowest = torch.finfo(targets.dtype).min / 4
        q = torch.where(impossible, 1.0, targets)
        log_q = torch.where(impossible, lowest, q.log())
        log_q_t = log_softened(log_q, over_classes(temperature))
        log_p_t = log_softened(logits, over_classes(temperature))
        # 0 log 0 is 0: what the targets exclude adds nothing.
        ratio = torch.where(impossible, 0.0, log_q_t - log_p_t)
        loss: Tensor = temperature**2 * (log_q_t.exp() * ratio).sum(-1)
        return loss

    block = partial(kernels.divergence_block, temperature=temperature)
    return _rows_of_targets(logits, targets, block, plain, temperature)


def log_softened(z: Logits, t: Parameter) -> Logits:
    """Return log softmax(z / t), right to the last digit also near 0.

    A factor such as t^2 would enlarge what torch's own form rounds away there. The
    largest logit is subtracted before the division, since differences of logits are
    exact.

    >>> log_softened(torch.tensor([[40.0, 0.0]]), 2.0)
    tensor([[-2.0612e-09, -2.0000e+01]])
    """
    top = z.detach().argmax(-1, keepdim=True)
    below = (z - z.gather(-1, top)) / t
    return below - below.exp().scatter(-1, top, 0.0).sum(-1, keepdim=True).log1p()


def surprise_loss(
    logits: Logits,
    labels: Labels,
    value: Callable[..., Tensor],
    slopes: Callable[..., tuple[Parameter, Parameter]],
    *,
    bounded: bool = False,
    **params: Parameter,
) -> PerExample:
    """Return value(-log p_y, sum of -log p_k over the other classes) per example.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), integer classes.
        value: the loss as a function of (-log p_y, the sum of the others', **params).
        slopes: its derivatives in both, of the same arguments, for the fused form.
        bounded: take a huge number, not infinity, for -log p of a class that is ruled
            out.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def value(at_label, at_others):
    ...     return 0.9 * at_label + 0.1 * at_others
    >>> def slopes(at_label, at_others):
    ...     return 0.9, 0.1
    >>> surprise_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), value, slopes)
    tensor([0.3269])
    """
    validate.logits_and_labels(logits, labels, values=False)
    value_, slopes_ = partial(value, **params), partial(slopes, **params)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        z = logits
        if bounded:
            z = shifted(z, z.new_zeros(())).clamp(min=kernels.ruled_out(z))
        surprises = -z.log_softmax(-1)
        others = surprises.scatter(-1, labels[..., None].long(), 0.0).sum(-1)
        return value_(-logsigmoid(label_margin(z, labels)), others)

    def form() -> kernels.Rows:
        block = kernels.surprise_block
        return kernels.Rows(
            partial(block, value=value_, slopes=slopes_, bounded=bounded)
        )

    return _rows_of_labels(logits, labels, form, plain, *params.values())


def entropy_loss(
    logits: Logits, labels: Labels, *, of_label: Parameter, of_entropy: Parameter
) -> PerExample:
    """Return a multiple of -log p_y plus one of the entropy of softmax, per example.

    Args:
        logits: (..., C), unnormalized log-probabilities.
        labels: (...), integer classes.
        of_label: what -log p_y is multiplied by; a float, or a tensor that broadcasts
            against the loss. 0 times an infinite one is 0.
        of_entropy: the same for the entropy -sum_k p_k log p_k.

    Returns:
        (...), in float32 or wider.

    >>> z, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> entropy_loss(z, y, of_label=0.0, of_entropy=1.0)
    tensor([0.3653])
    """
    validate.logits_and_labels(logits, labels, values=False)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        # All digits also where p is near 1: there, from the margin.
        top = logits.detach().argmax(-1)
        near_one = logsigmoid(label_margin(logits, top))[..., None]
        log_p = logits.log_softmax(-1).scatter(-1, top[..., None], near_one)
        # p log p tends to 0, and no 0 meets infinity in value and gradient.
        least = log_p.clamp(min=torch.finfo(log_p.dtype).min)
        entropy = -(least.exp() * least).sum(-1)
        return of_entropy * entropy - times_log(of_label, at_label(log_p, labels))

    def form() -> kernels.Rows:
        block = partial(kernels.entropy_block, of_label=of_label, of_entropy=of_entropy)
        return kernels.Rows(block, lambda loss, total: (loss, 1 / total), arrays=2)

    return _rows_of_labels(logits, labels, form, plain, of_label, of_entropy)


def rival_sum(
    logits: Logits,
    labels: Labels,
    value: Elementwise,
    slope: Elementwise,
    *,
    ahead: float = 0.0,
    **params: Parameter,
) -> PerExample:
    """Return the sum over the rivals k of value(z_k - z_y + ahead) per example.

    Args:
        logits: (..., C), scores of the classes.
        labels: (...), integer classes.
        value: the loss as a function of (lead of the rival + ahead, **params). It may
            write over the leads.
        slope: its derivative, for the fused form, as a function of (the loss,
            **params), written over the losses.
        ahead: what is added to each lead.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def slope(loss):
    ...     return torch.gt(loss, 0, out=loss)
    >>> z, y = torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([0])
    >>> rival_sum(z, y, torch.relu_, slope, ahead=1.0)
    tensor([0.5000])
    """
    validate.logits_and_labels(logits, labels, values=False)
    wide = {name: over_classes(param) for name, param in params.items()}
    value_, slope_ = partial(value, **wide), partial(slope, **wide)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        index = labels[..., None].long()
        # A finite stand-in for -inf: that of a rival must not meet that of the label.
        rivals = logits.clamp(min=torch.finfo(logits.dtype).min / 4)
        losses = value_(rivals - logits.gather(-1, index) + ahead)
        return losses.scatter(-1, index, 0.0).sum(-1)

    def form() -> kernels.Rows:
        block = kernels.rival_sum_block
        return kernels.Rows(partial(block, value=value_, slope=slope_, ahead=ahead))

    return _rows_of_labels(logits, labels, form, plain, *params.values())


def rival_max(
    logits: Logits,
    labels: Labels,
    value: Elementwise,
    slope: Elementwise,
    **params: Parameter,
) -> PerExample:
    """Return value(z_y - z_k) per example, with k the strongest rival.

    Args, returns and fused form are those of `rival_sum`. Equal rivals share the slope.

    >>> def value(margin):
    ...     return (1 - margin).relu()
    >>> def slope(margin):
    ...     return -(margin < 1).to(margin.dtype)
    >>> rival_max(torch.tensor([[2.0, 1.5, 1.8]]), torch.tensor([0]), value, slope)
    tensor([0.8000])
    """
    validate.logits_and_labels(logits, labels, values=False)
    value_, slope_ = partial(value, **params), partial(slope, **params)

    def plain(logits: Tensor, labels: Tensor) -> Tensor:
        index = labels[..., None].long()
        # A finite stand-in for -inf: a single class has no rival, and a huge margin.
        least = torch.finfo(logits.dtype).min / 4
        rivals = logits.scatter(-1, index, least)
        return value_(at_label(logits, labels) - rivals.amax(-1))

    def form() -> kernels.Rows:
        block = kernels.rival_max_block
        return kernels.Rows(partial(block, value=value_, slope=slope_))

    return _rows_of_labels(logits, labels, form, plain, *params.values())


def margin_loss(
    scores: Scores,
    signs: Signs,
    value: Elementwise,
    at_once: Callable[..., bool | None],
    **params: Parameter,
) -> PerExample:
    """Return value(margin) per example, with margin = sign * score.

    Args:
        scores: (...), one real number an example.
        signs: (...), the true class, -1 or +1.
        value: the loss as a function of (margin, **params).
        at_once: the fused form, as a function of (x, out, scale, **params), with x
            minus the margin. It writes the loss to `out`, and `scale` times its slope
            in x over x. It returns whether each loss is finite, None where it has not
            looked.
        params: floats, or tensors that broadcast against the loss.

    Returns:
        (...), in float32 or wider.

    >>> def value(margin):
    ...     return (1 - margin).relu()
    >>> def at_once(x, out, scale):
    ...     torch.add(x, 1, out=out).relu_()
    ...     torch.gt(out, 0, out=x).mul_(scale)
    >>> margin_loss(torch.tensor([2.0, 0.5]), torch.tensor([-1, 1]), value, at_once)
    tensor([3.0000, 0.5000])
    """
    validate.scores_and_signs(scores, signs, values=False)
    s = upcast(scores)

    def of_scores(scores: Tensor, signs: Tensor) -> Tensor:
        return value(scores * signs, **params)

    def both(
        x: Tensor, right: Tensor, kept_back: Tensor | None, out: Tensor, scale: float
    ) -> bool | None:
        return at_once(x, out, scale, **params) or None

    check = validate.scores_and_signs
    form = kernels.Elements(of_scores, None, check, both, signs=True)
    return _elements(s, signs.to(s.dtype), form, params, least=kernels.LARGE)


def binary_loss(
    scores: Scores,
    targets: Targets,
    value: Elementwise,
    slope: Elementwise,
    at_once: Callable[..., bool] | None = None,
    **params: Parameter | None,
) -> PerExample:
    """Return value(score, target) for each number.

    Args:
        scores: (...), the log-odds of "yes".
        targets: (...), the truth, between 0 and 1.
        value: the loss as a function of (scores, targets, **params). `log_sigmoids`,
            `sigmoid` and `mixed_log` are fast in it where no derivative can be asked
            for, that is, where `underived` holds.
        slope: its derivative in the score, of the same arguments, for the fused form.
        at_once: both in one pass, with **params, as `kernels.Elements` takes it.
        params: floats, tensors that broadcast against the loss, or None.

    Returns:
        (...), in float32 or wider.

    >>> def value(scores, targets):
    ...     return -mixed_log(targets, *log_sigmoids(scores))
    >>> def slope(scores, targets):
    ...     return scores.sigmoid() - targets
    >>> binary_loss(torch.tensor([2.0]), torch.tensor([1.0]), value, slope)
    tensor([0.1269])
    """
    validate.scores_and_targets(scores, targets, values=False)
    s = upcast(scores)
    check = validate.scores_and_targets
    both = partial(at_once, **params) if at_once is not None else None
    value_, slope_ = partial(value, **params), partial(slope, **params)
    form = kernels.Elements(value_, slope_, check, both)
    return _elements(s, targets.to(s.dtype), form, params, least=1)


def _rows_of_labels(
    logits: Tensor,
    labels: Tensor,
    form: Callable[[], kernels.Rows],
    plain: kernels.Plain,
    *params: Any,
) -> Tensor:
    """Return the loss of each row; a fused form finds a label that is not allowed."""
    z, check = upcast(logits), partial(validate.logits_and_labels, logits, labels)
    return _rows(z, labels, form, plain, *params, least=1, check=check)


def _rows_of_targets(
    logits: Tensor,
    targets: Tensor,
    block: Callable[..., tuple[Tensor, ...]],
    plain: kernels.Plain,
    *params: Any,
    arrays: int = 2,
) -> Tensor:
    """Return the loss of each row; a fused form looks at the targets itself."""
    validate.logits_and_targets(logits, targets, values=False)
    z = upcast(logits)
    q = targets.to(z.dtype)

    def form() -> kernels.Rows:
        room = validate.simplex_room(targets.dtype, z.dtype)
        return kernels.Rows(partial(block, room=room), arrays=arrays)

    check = partial(validate.logits_and_targets, logits, targets)
    return _rows(z, q, form, plain, *params, least=kernels.MIDDLE, check=check)


def _rows(
    logits: Tensor,
    truth: Tensor,
    form: Callable[[], kernels.Rows],
    plain: kernels.Plain,
    *params: Any,
    least: int,
    check: Callable[[], None],
) -> Tensor:
    """Return the loss of each row, in the form that serves the call.

    The plain one does not look at the truth: `check` does. It also says in words why a
    fused one failed.
    """
    if logits.shape[-1] > 1 and kernels.usable(logits, truth, *params, least=least):
        y = truth if truth.dtype.is_floating_point else truth.long()
        z, flat = logits, logits.ndim == 2
        if not flat:
            z = logits.reshape(-1, logits.shape[-1])
            y = y.reshape(-1) if y.ndim < logits.ndim else y.reshape(z.shape)
        try:
            loss: Tensor = kernels.RowLoss.apply(z, y, form(), plain)
        except (IndexError, RuntimeError):  # a label without a class
            check()
            raise
        if not flat:
            loss = loss.reshape(logits.shape[:-1])
    else:
        check()
        loss = plain(logits, truth)
    return validate.explain_nan("logits", logits, loss)


def _elements(
    scores: Tensor,
    truth: Tensor,
    form: kernels.Elements,
    params: Mapping[str, Parameter | None],
    *,
    least: int,
) -> Tensor:
    """Return the loss of each number, in the form that serves the call.

    In the fused form it may be their mean or sum, where `kernels.Reduced` asks for it.
    """
    if kernels.usable(scores, truth, *params.values(), least=least):
        divisor = kernels.divisor(scores)
        loss: Tensor
        loss, finite = kernels.ElementLoss.apply(scores, truth, form, divisor)
        if finite:
            return loss
    else:
        form.check(scores, truth)
        loss = form.value(scores, truth)
    return validate.explain_nan("scores", scores, loss)

"""The table: which kind of operation each torch function is.

A kind names the method of :class:`textlrp.lrp.dispatch.Interception` that applies its rule. Functions are found by
name wherever torch offers them (``torch.add``, ``Tensor.add``, ``Tensor.__radd__``, ``Tensor.add_``), so that the table
survives a torch release that adds or drops one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.lrp.surrogates import MASKED

LOOKUP = "lookup"
SAMPLE = "sample"
DROPOUT = "dropout"
TRANSPORT = "transport"

_OWNERS: tuple[tuple[str, Any], ...] = (
    ("torch", torch),
    ("Tensor", Tensor),
    ("F", F),
    ("torch._C._nn", torch._C._nn),
    ("torch.special", torch.special),
    ("torch.linalg", torch.linalg),
    ("torch.fft", torch.fft),
)

# Linear in the one tensor that carries relevance, or choosing among its values: the plain gradient is the rule.
_TRANSPORT = """
view view_as reshape reshape_as permute transpose swapaxes swapdims movedim moveaxis t adjoint contiguous
clone expand expand_as broadcast_to repeat repeat_interleave tile unsqueeze squeeze flatten unflatten ravel
narrow narrow_copy select split split_with_sizes chunk tensor_split unsafe_split unsafe_chunk hsplit vsplit
dsplit unbind __getitem__ index_select gather take take_along_dim masked_select index roll flip fliplr
flipud rot90 diagonal diag diag_embed tril triu unfold fold as_strided float double half bfloat16 to type
type_as cpu cuda mean sum nansum nanmean neg negative __neg__ positive cumsum diff trace sum_to_size avg_pool1d
avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d interpolate upsample pixel_shuffle amax
amin topk sort msort kthvalue median cummax cummin max_pool1d max_pool2d max_pool3d adaptive_max_pool1d
adaptive_max_pool2d relu leaky_relu abs absolute __abs__ rrelu real imag view_as_real view_as_complex
resolve_conj resolve_neg conj conj_physical fft ifft rfft irfft fft2 ifft2 fftn ifftn rfft2 irfft2 rfftn
irfftn hfft ihfft fftshift ifftshift requires_grad_ retain_grad pin_memory detach data_ptr nan_to_num
__iter__ __reversed__ requires_grad unsafe_split native_channel_shuffle channel_shuffle unsqueeze_ squeeze_
transpose_ t_ swapaxes_ squeeze_copy
""".split()

_KINDS: dict[str, list[str]] = {
    "additive": "add sub subtract rsub __add__ __radd__ __sub__ __rsub__".split(),
    "affine": """
        cat concat concatenate stack hstack vstack dstack column_stack where masked_fill masked_scatter pad
        constant_pad_nd index_fill index_copy index_add index_put scatter scatter_add slice_scatter
        select_scatter diagonal_scatter lerp batch_norm __setitem__ fill copy
    """.split(),
    "linear": ["linear"],
    "convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc".split(),
    "product": """
        mul multiply __mul__ __rmul__ matmul __matmul__ __rmatmul__ bmm mm mv dot vdot inner outer ger vecdot einsum
        tensordot kron chain_matmul multi_dot grouped_mm _grouped_mm
    """.split(),
    "sum_of_product": "baddbmm addmm addbmm addmv addr addcmul".split(),
    "division": "div divide true_divide __truediv__ __rtruediv__ floor_divide __floordiv__ __rdiv__".split(),
    "statistic": """
        sqrt rsqrt reciprocal var std norm vector_norm matrix_norm logsumexp frobenius_norm inv inverse pinv pinverse
    """.split(),
    "solve": ["solve", "solve_triangular"],
    "nonlinearity": """
        gelu silu mish tanh sigmoid hardsigmoid hardswish hardtanh relu6 elu selu celu softplus logsigmoid softsign
        tanhshrink hardshrink softshrink threshold clamp clip clamp_min clamp_max pow square __pow__ __rpow__ exp exp2
        expm1 log1p cos sin tan sinh cosh asinh atan asin acos arcsin arccos arctan erf erfc sinc round floor ceil trunc
        fix sign expit prelu
    """.split(),
    "softmax": ["softmax", "_softmax"],
    "layer_norm": ["layer_norm"],
    "rms_norm": ["rms_norm"],
    "normalize": ["normalize"],
    "glu": ["glu"],
    "winner": "max min maximum minimum fmax fmin".split(),
    "attention": ["scaled_dot_product_attention"],
    "multi_head": ["multi_head_attention_forward"],
    LOOKUP: ["embedding", "embedding_bag"],
    SAMPLE: """
        rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial poisson
        normal_ uniform_ bernoulli_ random_ exponential_ cauchy_ log_normal_ geometric_ gumbel_softmax
    """.split(),
    DROPOUT: """
        dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout native_dropout
    """.split(),
}

KINDS: dict[Any, str] = {}
OUT_OF_PLACE: dict[Any, Any] = {}
_NAMES: dict[Any, str] = {}


def _register(names: list[str], kind: str) -> None:
    for name in names:
        for owner_name, owner in _OWNERS:
            function = getattr(owner, name, None)
            if not callable(function) or isinstance(function, type):
                continue
            KINDS.setdefault(function, kind)
            _NAMES.setdefault(function, f"{owner_name}.{name}")
            if kind in (TRANSPORT, LOOKUP, SAMPLE, DROPOUT):
                continue
            in_place_name = f"__i{name[2:]}" if name.startswith("__") else f"{name}_"
            in_place = getattr(owner, in_place_name, None)
            if callable(in_place):
                KINDS.setdefault(in_place, kind)
                OUT_OF_PLACE.setdefault(in_place, function)
                _NAMES.setdefault(in_place, f"{owner_name}.{in_place_name}")


for _kind, _functions in _KINDS.items():
    _register(_functions, _kind)
_register(_TRANSPORT, TRANSPORT)
for _attribute in ("T", "mT", "H", "mH", "real", "imag"):
    _getter = getattr(Tensor, _attribute).__get__
    KINDS[_getter], _NAMES[_getter] = TRANSPORT, f"Tensor.{_attribute}"


def copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Return what ``target.copy_(source)`` writes."""
    return source.to(target.dtype).broadcast_to(target.shape)


KINDS[Tensor.copy_] = KINDS[copied] = "affine"
OUT_OF_PLACE[Tensor.copy_], _NAMES[Tensor.copy_], _NAMES[copied] = copied, "Tensor.copy_", "Tensor.copy_"
for _torch, _tensor in ((torch.fill, Tensor.fill_), (torch.zeros_like, Tensor.zero_)):
    KINDS[_torch] = KINDS[_tensor] = "affine"
    OUT_OF_PLACE[_tensor], _NAMES[_tensor] = _torch, f"Tensor.{_tensor.__name__}"
# Written in place by their nature; the out-of-place twin is a clone that is then written.
OUT_OF_PLACE[Tensor.__setitem__] = Tensor.__setitem__
for _function in (F.relu_, torch.relu_, Tensor.relu_, F.leaky_relu_, Tensor.abs_, torch.abs_, Tensor.neg_, torch.neg_):
    KINDS[_function], _NAMES[_function] = TRANSPORT, f"Tensor.{_function.__name__}"

LOOKUP_NAMES: dict[Any, tuple[str, ...]] = {
    F.embedding: ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"),
    torch.embedding: ("weight", "input", "padding_idx"),
    F.embedding_bag: ("input", "weight"),
    torch.embedding_bag: ("weight", "input"),
}
LAYER_NORM_NAMES = ("input", "normalized_shape", "weight", "bias", "eps")

_READ = """
dim size numel nelement ndimension stride storage_offset is_contiguous is_floating_point is_complex is_signed
element_size get_device is_same_size __len__
""".split()
_READ_ATTRIBUTES = (
    "shape dtype device ndim layout itemsize nbytes is_cuda is_cpu is_meta is_sparse is_quantized".split()
)
#: What a tensor is, not what is in it.
READ = frozenset(getattr(Tensor, _name) for _name in _READ) | {
    getattr(Tensor, _attribute).__get__ for _attribute in _READ_ATTRIBUTES
}
#: Derivatives: what a model computes of itself changes with the gradients of its operations.
DERIVATIVES = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}
#: Where numbers leave torch, and come back as constants that nobody can trace.
EXITS = {Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__array__}

_POWERS = {function for function, label in _NAMES.items() if label.split(".")[-1] in ("pow", "__pow__", "square")}
_MATMULS = {
    function for function, label in _NAMES.items() if label.split(".")[-1] in ("matmul", "__matmul__", "bmm", "mm")
}
_REVERSED = {Tensor.__rsub__, torch.rsub}
_SUBTRACTIONS = {
    function for function, label in _NAMES.items() if label.split(".")[-1].strip("_") in ("sub", "subtract")
}


def name(function: Any) -> str:
    """Name a torch function as a user would write it."""
    if isinstance(function, str):
        return function
    if function in _NAMES:
        return _NAMES[function]
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return f"torch.ops.{function}"
    qualified = str(getattr(function, "__qualname__", None) or getattr(function, "__name__", repr(function)))
    module = getattr(function, "__module__", None)
    for internal, public in (
        ("TensorBase.", "Tensor."),
        ("_VariableFunctionsClass.", "torch."),
        ("Tensor.", "Tensor."),
    ):
        if qualified.startswith(internal):
            return public + qualified.removeprefix(internal)
    return f"{module}.{qualified}" if module else qualified


def without_inplace(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Take the ``inplace`` of ``F.silu`` and its kin out of the arguments, and say whether it was set."""
    code = getattr(function, "__code__", None)
    places = code.co_varnames[: code.co_argcount] if code is not None else ()
    if "inplace" not in places:
        return args, kwargs, False
    at = places.index("inplace")
    given = bool(args[at]) if at < len(args) else bool(kwargs.get("inplace", False))
    return args[:at] + args[at + 1 :], {key: value for key, value in kwargs.items() if key != "inplace"}, given


@cache
def is_in_place(function: Any) -> bool:
    """Whether a function writes into its first argument."""
    last = name(function).split(".")[-1]
    return last == "__setitem__" or (last.endswith("_") and not last.endswith("__")) or last.startswith("__i")


def is_power(function: Any) -> bool:
    """Whether a function raises its argument to a power."""
    return function in _POWERS


def is_root(function: Any, args: Any, kwargs: Any) -> bool:
    """Whether a function raises to a power that statistics are raised to: a root, an inverse."""
    exponent = args[1] if len(args) > 1 else kwargs.get("exponent", 2)
    return is_power(function) and (isinstance(exponent, Tensor) or exponent <= 0 or exponent == 0.5)


def is_clamp(function: Any) -> bool:
    """Whether a function keeps its argument between bounds."""
    return name(function).split(".")[-1] in ("clamp", "clip", "clamp_min", "clamp_max")


def is_matmul(function: Any) -> bool:
    """Whether a function is a matrix product of its two arguments."""
    return function in _MATMULS


def multiplies_matrices(function: Any) -> bool:
    """Whether a function is a matrix product, alone or added to something."""
    return function in _MATMULS or name(function).split(".")[-1] in ("addmm", "addmv", "baddbmm", "bmm", "mm", "mv")


#: What draws, and takes no generator to draw from.
_WITHOUT_GENERATOR = {F.gumbel_softmax}
#: Dropout of single elements, by its two names.
ELEMENT_DROPOUT = {F.dropout, torch.dropout}
#: Dropout that draws nothing unless it is told to.
_EVALUATING = {F.alpha_dropout, F.feature_alpha_dropout}


#: The kinds of functions that may draw.
DRAWING = frozenset({SAMPLE, DROPOUT, "attention"})


def draws(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call draws random numbers."""
    kind = KINDS.get(function)
    if kind == DROPOUT:
        trains = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", function not in _EVALUATING))
        return bool(trains and (args[1] if len(args) > 1 else kwargs.get("p", 0.5)) > 0)
    if kind == "attention":
        return bool((args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0)
    return kind == SAMPLE


def takes_generator(function: Any) -> bool:
    """Whether a function that draws can be given the generator to draw from."""
    return KINDS.get(function) == SAMPLE and function not in _WITHOUT_GENERATOR


def sign(function: Any, position: int) -> float:
    """Return the sign with which a sum takes the operand at that position."""
    if function in _REVERSED:
        return -1.0 if position == 0 else 1.0
    return -1.0 if position == 1 and function in _SUBTRACTIONS else 1.0


def scaled_position(function: Any) -> int:
    """Return which operand ``alpha`` scales: the one that is subtracted or added to the other."""
    return 0 if function in _REVERSED else 1


def is_blank(value: Any) -> bool:
    """Whether adding a constant adds no relevance: zeros, and the large negative entries of an attention mask.

    A softmax gives a masked entry the weight zero and hence the multiplier zero; where that does not hold, the ledger
    shows it.
    """
    if isinstance(value, Tensor):
        if not (value.is_floating_point() or value.is_complex()):
            return not bool(value.any())
        return bool(((value == 0) | (value <= MASKED)).all()) if not value.is_complex() else not bool(value.any())
    return not isinstance(value, (int, float)) or value == 0 or value <= MASKED


def sum_of_product(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], product: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    """Take ``beta * input + alpha * (a @ b)`` apart into its two summands."""
    named = dict(zip(("input", "a", "b"), args, strict=False)) | kwargs
    base = named["input"]
    a = named.get(
        "a", named.get("batch1", named.get("mat1", named.get("mat", named.get("tensor1", named.get("vec1")))))
    )
    b = named.get(
        "b", named.get("batch2", named.get("mat2", named.get("vec", named.get("tensor2", named.get("vec2")))))
    )
    beta, alpha = kwargs.get("beta", 1), kwargs.get("alpha", kwargs.get("value", 1))
    kind = name(function).split(".")[-1].rstrip("_")
    if kind == "addcmul":
        result = product(torch.mul, a, b)
    elif kind == "addr":
        result = product(torch.outer, a, b)
    elif kind == "addbmm":
        result = product(torch.bmm, a, b).sum(0)
    else:
        result = product(torch.matmul, a, b)
    return (base if beta == 1 else base * beta), (result if alpha == 1 else result * alpha)


# Where each affine operation takes its values, by position and by keyword; the other arguments only choose.
_VALUES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    **dict.fromkeys("cat concat concatenate stack hstack vstack dstack column_stack".split(), ((0,), ("tensors",))),
    **dict.fromkeys("slice_scatter select_scatter diagonal_scatter".split(), ((0, 1), ("input", "src"))),
    **dict.fromkeys(
        "index_fill index_copy index_add scatter scatter_add".split(), ((0, 3), ("input", "value", "source", "src"))
    ),
    "where": ((1, 2), ("input", "self", "other")),
    "masked_fill": ((0, 2), ("input", "value")),
    "masked_scatter": ((0, 2), ("input", "source")),
    "pad": ((0, 3), ("input", "value")),
    "constant_pad_nd": ((0, 2), ("input", "value")),
    "index_put": ((0, 2), ("input", "values")),
    "lerp": ((0, 1), ("input", "end")),
    "__setitem__": ((0, 2), ()),
    "fill": ((1,), ("value",)),
    "copy": ((1,), ("src",)),
}


def value_places(function: Any) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return where an operation that moves values takes them from: positions and keywords of its arguments."""
    if function is Tensor.where:
        return (0, 2), ("other",)
    label = name(function).split(".")[-1]
    return _VALUES.get(label if label.startswith("__") else label.rstrip("_"), ((0,), ("input", "self")))


def adds_nothing(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an affine operation has no constant part: every value that it takes carries relevance or is blank."""
    if name(function).split(".")[-1].rstrip("_") == "batch_norm":
        return False
    positions, keywords = value_places(function)
    values = [args[i] for i in positions if i < len(args)] + [kwargs[key] for key in keywords if key in kwargs]
    return all(_brings_nothing(value) for value in values)


def _brings_nothing(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_brings_nothing(item) for item in value)
    return (isinstance(value, Tensor) and value.requires_grad) or is_blank(value)


def widened(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """Ask for float64 where a model asks for float32.

    Many models compute norms, softmax or rotations in float32 whatever their dtype. That protects half precision; a
    float64 model loses nine digits by it, and its books would close no better than those of a float32 model.
    """
    if func is Tensor.float:
        return Tensor.double, args, kwargs
    if any(value is torch.float32 for value in args):
        args = tuple(torch.float64 if value is torch.float32 else value for value in args)
    if kwargs and any(value is torch.float32 for value in kwargs.values()):
        kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
    return func, args, kwargs

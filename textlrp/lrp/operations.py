"""The table: which kind of operation each torch function is.

The dispatcher has one function for each kind, which applies its rule. Torch functions are found by name wherever torch
offers them (``torch.add``, ``Tensor.add``, ``Tensor.__radd__``, ``Tensor.add_``), so that the table survives a torch
release that adds or drops one of them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textlrp.guard import torch_internals
from textlrp.guard.randomness import DROPOUT_NAMES, SAMPLING_NAMES

LOOKUP = "lookup"
SAMPLE = "sample"
DROPOUT = "dropout"
#: Functions whose own gradient is their rule.
PLAIN = "plain"

_OWNERS: tuple[tuple[str, Any], ...] = (
    ("torch", torch),
    ("Tensor", Tensor),
    ("F", F),
    ("torch._C._nn", torch._C._nn),
    ("torch.special", torch.special),
    ("torch.linalg", torch.linalg),
    ("torch.fft", torch.fft),
)

# Linear in the one tensor that carries relevance, or a choice among its values.
_PLAIN = """
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
__iter__ __reversed__ native_channel_shuffle channel_shuffle unsqueeze_ squeeze_
transpose_ t_ swapaxes_ squeeze_copy _pack_padded_sequence _pad_packed_sequence
""".split()

_KINDS: dict[str, list[str]] = {
    "additive": "add sub subtract rsub __add__ __radd__ __sub__ __rsub__".split(),
    "affine": """
        cat concat concatenate stack hstack vstack dstack column_stack where masked_fill masked_scatter pad
        constant_pad_nd index_fill index_copy index_add index_put scatter scatter_add slice_scatter
        select_scatter diagonal_scatter lerp batch_norm __setitem__ fill
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
        fix sign expit prelu log log2 log10 lgamma digamma logit erfinv atanh acosh ndtr log_ndtr entr i0 i0e erfcx
    """.split(),
    "softmax": ["softmax", "_softmax", "log_softmax"],
    "layer_norm": ["layer_norm"],
    "rms_norm": ["rms_norm"],
    "normalize": ["normalize"],
    "glu": ["glu"],
    "winner": "max min maximum minimum fmax fmin".split(),
    "attention": ["scaled_dot_product_attention"],
    "multi_head": ["multi_head_attention_forward"],
    "decomposed": """
        cosine_similarity group_norm instance_norm var_mean std_mean cdist pairwise_distance addcdiv bilinear softmin
        logaddexp hypot float_power scatter_reduce lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell
        rnn_relu_cell
    """.split(),
    LOOKUP: ["embedding", "embedding_bag"],
    SAMPLE: SAMPLING_NAMES,
    DROPOUT: DROPOUT_NAMES,
}

KINDS: dict[Any, str] = {}
OUT_OF_PLACE: dict[Any, Any] = {}
_NAMES: dict[Any, str] = {}


#: Arguments of ``torch.where``, ``polygamma`` and ``searchsorted`` that stand before ``input`` or ``other``.
_BEFORE_INPUT = frozenset(("condition", "n", "sorted_sequence"))


def _register(names: list[str], kind: str, kinds: dict[Any, str]) -> None:
    for name in names:
        for owner_name, owner in _OWNERS:
            function = getattr(owner, name, None)
            if not callable(function) or isinstance(function, type):
                continue
            kinds.setdefault(function, kind)
            _NAMES.setdefault(function, f"{owner_name}.{name}")
            if kind in (PLAIN, LOOKUP, SAMPLE, DROPOUT):
                continue
            in_place_name = f"__i{name[2:]}" if name.startswith("__") else f"{name}_"
            in_place = getattr(owner, in_place_name, None)
            if callable(in_place):
                kinds.setdefault(in_place, kind)
                OUT_OF_PLACE.setdefault(in_place, function)
                _NAMES.setdefault(in_place, f"{owner_name}.{in_place_name}")


for _kind, _functions in _KINDS.items():
    _register(_functions, _kind, KINDS)
_register(_PLAIN, PLAIN, KINDS)
for _attribute in ("T", "mT", "H", "mH", "real", "imag"):
    _getter = getattr(Tensor, _attribute).__get__
    KINDS[_getter], _NAMES[_getter] = PLAIN, f"Tensor.{_attribute}"


#: Functions that are of another kind under difference rules: not linear, or with a rule only there.
_DIFFERENCE: dict[str, list[str]] = {
    "nonlinearity": """
        relu leaky_relu rrelu abs absolute __abs__ sqrt rsqrt reciprocal
    """.split(),
    "choice": """
        amax amin topk sort msort kthvalue median nanmedian cummax cummin aminmax max_pool1d max_pool2d max_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    """.split(),
    "logsumexp": ["logsumexp"],
    "inverse": ["inv", "inverse"],
    "refused": ["pinv", "pinverse"],
    "factors": ["prod", "cumprod"],
}
DIFFERENCE_KINDS: dict[Any, str] = {}


for _kind, _functions in _DIFFERENCE.items():
    _register(_functions, _kind, DIFFERENCE_KINDS)


def copied(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Return the values that ``target.copy_(source)`` writes."""
    return source.to(target.dtype).broadcast_to(target.shape)


KINDS[Tensor.copy_] = KINDS[copied] = "affine"
OUT_OF_PLACE[Tensor.copy_], _NAMES[Tensor.copy_], _NAMES[copied] = copied, "Tensor.copy_", "Tensor.copy_"
for _torch, _tensor in ((torch.fill, Tensor.fill_), (torch.zeros_like, Tensor.zero_)):
    KINDS[_torch] = KINDS[_tensor] = "affine"
    OUT_OF_PLACE[_tensor], _NAMES[_tensor] = _torch, f"Tensor.{_tensor.__name__}"
# Only written in place: out of place, a clone is written.
OUT_OF_PLACE[Tensor.__setitem__] = Tensor.__setitem__
for _function in (F.relu_, torch.relu_, Tensor.relu_, F.leaky_relu_, Tensor.abs_, torch.abs_, Tensor.neg_, torch.neg_):
    KINDS[_function], _NAMES[_function] = PLAIN, f"Tensor.{_function.__name__}"

_READ = """
dim size numel nelement ndimension stride storage_offset is_contiguous is_floating_point is_complex is_signed
element_size get_device is_same_size __len__
""".split()
_READ_ATTRIBUTES = (
    "shape dtype device ndim layout itemsize nbytes is_cuda is_cpu is_meta is_sparse is_quantized".split()
)
#: Functions that read properties of a tensor, not its values, and one in which no tensor may be read.
READ = frozenset(getattr(Tensor, _name) for _name in _READ) | {
    *(getattr(Tensor, _attribute).__get__ for _attribute in _READ_ATTRIBUTES),
    torch_internals.SET_BACKWARD_HOOKS,
}
#: Derivatives: surrogates have other gradients, so a model that takes a derivative would compute something else.
DERIVATIVES = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}
#: Functions that move numbers out of torch: they come back as constants that cannot be traced.
EXITS = {Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__array__}


@cache
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


@cache
def stem(function: Any) -> str:
    """Return a function's name without its owner and without the mark of an in-place function: ``add`` for ``add_``."""
    last = name(function).split(".")[-1]
    return last if last.startswith("__") else last.rstrip("_")


_NOT_IN_PLACE = ("__int__", "__index__", "__invert__", "__iter__")


@cache
def is_in_place(function: Any) -> bool:
    """Return whether a function writes into its first argument."""
    last = name(function).split(".")[-1]
    if last.endswith("__"):
        return last == "__setitem__" or (last.startswith("__i") and last not in _NOT_IN_PLACE)
    return last.endswith("_")


@cache
def is_matmul(function: Any) -> bool:
    """Return whether a function is a matrix product of its two arguments."""
    return stem(function) in ("matmul", "__matmul__", "bmm", "mm")


def positional(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return arguments with ``input`` and ``other``, the first and the second one of most functions, by position."""
    if not args and "input" in kwargs and _BEFORE_INPUT.isdisjoint(kwargs):
        args, kwargs = (kwargs["input"],), {key: value for key, value in kwargs.items() if key != "input"}
    if len(args) == 1 and "other" in kwargs and _BEFORE_INPUT.isdisjoint(kwargs) and "input" not in kwargs:
        args, kwargs = (*args, kwargs["other"]), {key: value for key, value in kwargs.items() if key != "other"}
    return args, kwargs


def without_inplace(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Remove ``inplace`` (of ``F.silu``, say) from the arguments, and return whether it was set."""
    code = getattr(function, "__code__", None)
    places = code.co_varnames[: code.co_argcount] if code is not None else ()
    if "inplace" not in places:
        return args, kwargs, False
    at = places.index("inplace")
    inplace = bool(args[at]) if at < len(args) else bool(kwargs.get("inplace", False))
    return args[:at] + args[at + 1 :], {key: value for key, value in kwargs.items() if key != "inplace"}, inplace


# The arguments that hold the values of each affine operation, by position and by keyword; the others only select.
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
    """Return the positions and the keywords of the arguments from which an operation takes the values that it moves."""
    if function is Tensor.where:
        return (0, 2), ("other",)
    return _VALUES.get(stem(function), ((0,), ("input", "self")))

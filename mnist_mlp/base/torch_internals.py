"""Private parts of PyTorch, each with the reason for its use and its replacement.

Undocumented parts of PyTorch are used only in this module, so that a new version needs a review of one file.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import optimizer as optimizer_module

_GLOBAL_MODULE_HOOKS = [name for name in vars(nn.modules.module) if name.startswith("_global_") and "_hooks" in name]


def has_global_module_hooks() -> bool:
    """Return whether hooks are registered for all modules.

    Reason: fused kernels and hand-written backward passes do not call hooks. Replacement: there is no public one; such
    hooks would have to be documented as unsupported.
    """
    return any(vars(nn.modules.module)[name] for name in _GLOBAL_MODULE_HOOKS)


def has_hooks(watched: nn.Module | Optimizer) -> bool:
    """Return whether hooks are registered for a module or an optimizer.

    Reason and replacement: as for `has_global_module_hooks`.
    """
    return any(hooks for name, hooks in vars(watched).items() if name.endswith("_hooks"))


def has_global_step_hooks() -> bool:
    """Return whether hooks are registered for the steps of all optimizers.

    Reason and replacement: as for `has_global_module_hooks`.
    """
    return bool(optimizer_module._global_optimizer_pre_hooks or optimizer_module._global_optimizer_post_hooks)


def has_step_hooks(optimizer: Optimizer) -> bool:
    """Return whether hooks are registered for the steps of an optimizer.

    Reason and replacement: as for `has_global_module_hooks`.
    """
    hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    return bool(hooks) or has_global_step_hooks()


def has_gradient_hooks(parameter: Tensor) -> bool:
    """Return whether hooks are registered for the gradient of a parameter.

    Reason and replacement: as for `has_global_module_hooks`.
    """
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)


def has_onednn_linear() -> bool:
    """Return whether `onednn_linear` is available."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight.T + bias, of shape (batch, out), computed by oneDNN.

    Reason: twice as fast as MKL on AMD processors with AVX-512. Replacement: `torch.nn.functional.linear`.

    Args:
        x: Inputs of shape (batch, in).
        weight: Weights of shape (out, in).
        bias: Biases of shape (out,), or None.
    """
    out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return out


def allow_recompilations(count: int) -> None:
    """Let `torch.compile` compile a function for at least `count` shapes.

    Reason: each size of a stack and each network has its own shapes; PyTorch's limit is 8. Replacement: there is no
    public one.
    """
    torch._dynamo.config.recompile_limit = max(count, torch._dynamo.config.recompile_limit)


def avoid_compiler_import() -> None:
    """Keep PyTorch's optimizers from importing its compiler, which takes a second and 150 MB.

    Reason: PyTorch wraps some optimizer methods to exclude them from compiled graphs. The wrapper imports the compiler
    unless the method has the attribute that is set here. If PyTorch changes the wrapper, this has no effect.
    Replacement: accept the import.
    """
    for method in vars(Optimizer).values():
        wrapped = getattr(method, "__wrapped__", None)
        if wrapped is not None:
            vars(wrapped).setdefault("__dynamo_disable", wrapped)

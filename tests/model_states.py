"""What an explanation could disturb in a model, as values that compare."""

import torch
import torch.utils.checkpoint


def state_of(model):
    """All that an explanation could disturb, as plain values."""
    return {
        "parameters": {name: value.clone() for name, value in model.state_dict().items()},
        "identities": [id(p) for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "grad": [p.grad is None for p in model.parameters()],
        "training": [module.training for module in model.modules()],
        "hooks": [
            len(hooks)
            for module in model.modules()
            for hooks in (
                module._forward_hooks,
                module._forward_pre_hooks,
                module._backward_hooks,
                module._forward_hooks_with_kwargs,
                module._forward_pre_hooks_with_kwargs,
            )
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "apply": torch.autograd.Function.__dict__["apply"],
        "modes": torch.overrides._get_current_function_mode_stack(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
    }


def assert_same(before, after):
    parameters = before.pop("parameters"), after.pop("parameters")
    assert before == after
    assert list(parameters[0]) == list(parameters[1])
    assert all(torch.equal(parameters[0][name], parameters[1][name]) for name in parameters[0])


def unusual(model):
    """A model in the middle of something: parts frozen, parts training."""
    model.train()
    for i, (_, module) in enumerate(model.named_modules()):
        module.training = i % 2 == 0
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 3 != 0)
    return model

"""Prints the weights and norms that src/training/optimizer.rs holds its AdamW against."""

import torch

parameters = [torch.nn.Parameter(torch.tensor(values)) for values in ([0.5, -1.5], [2.0], [0.25])]
groups = [
    {"params": [parameters[0], parameters[2]], "weight_decay": 0.1},
    {"params": [parameters[1]], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=0.1)
gradients = [[0.1, -0.2, 0.3, 0.05], [3.0, 1.0, -2.0, 0.5], [-0.5, 0.25, 0.0, 1.0]]
for gradient, rate in zip(gradients, [0.1, 0.05, 0.01]):
    parameters[0].grad = torch.tensor(gradient[:2])
    parameters[1].grad = torch.tensor(gradient[2:3])
    parameters[2].grad = torch.tensor(gradient[3:])
    print("norm", torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
print("weights", [value for parameter in parameters for value in parameter.tolist()])

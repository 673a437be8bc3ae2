"""Cells written anew from their papers: loops in numpy, torch's own LSTM and layer norm, attention with a full matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.contracts import Cell
from harness.core.spec import Incompatible

B, T, X, H = 3, 7, 5, 4
INPUT_BTX = torch.randn(B, T, X, generator=torch.Generator().manual_seed(3), dtype=torch.double)


def made(kind: str, **settings: Any) -> Any:
    torch.manual_seed(4)
    cell = Cell.kinds[kind].Config(hidden=H, **settings).build(entering=X).double().eval()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(0.0, 0.7)
    return cell


def random_state(cell: Any) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(5)
    return tuple(torch.randn(B, 1, *shape, dtype=torch.double) for shape in cell.tensors)


def zeros(cell: Any) -> tuple[torch.Tensor, ...]:
    return tuple(torch.zeros(B, 1, *shape, dtype=torch.double) for shape in cell.tensors)


def array(tensor: Any) -> Any:
    return tensor.detach().numpy()


def affine(module: Any, x: Any) -> Any:
    return x @ array(module.weight).T + (0 if module.bias is None else array(module.bias))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(x))


def check(cell: Any, state: Any, outputs: Any, last: Any) -> None:
    """Compare a walk over all steps, and one step after the other, with what a loop gives."""
    for pieces in ([T], [1] * T, [2, 5]):
        spoken, now = [], state
        for piece in INPUT_BTX.split(pieces, 1):
            output, now = cell(piece, now)
            spoken.append(output)
        np.testing.assert_allclose(array(torch.cat(spoken, 1)), np.stack(outputs, 1), rtol=1e-10, atol=1e-10)
        for part, want in zip(now, last, strict=True):
            np.testing.assert_allclose(array(part[:, 0]), want, rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------------------------------------- step by step


def test_a_stepwise_lstm_is_torchs_own() -> None:
    cell, oracle = made("stepwise_lstm"), nn.LSTM(X, H, batch_first=True).double()
    order = [3, 0, 1, 2]  # ours are f, g, o, i; torch's i, f, g, o
    layer = cell.maps[0]
    with torch.no_grad():
        for ours, theirs in ((layer.enter.weight, "weight_ih_l0"), (layer.enter.bias, "bias_ih_l0")):
            getattr(oracle, theirs)[:] = torch.cat([ours.chunk(4)[gate] for gate in order])
        oracle.weight_hh_l0[:] = torch.cat([layer.recur.weight.chunk(4)[gate] for gate in order])
        oracle.bias_hh_l0.zero_()
    state = random_state(cell)
    output, (h, c) = oracle(INPUT_BTX, tuple(part.transpose(0, 1) for part in state))
    check(cell, state, array(output).swapaxes(0, 1), [array(h[0]), array(c[0])])


@pytest.mark.parametrize("input_gate", ("own", "coupled"))
@pytest.mark.parametrize("peepholes", (False, True))
def test_relatives_of_the_lstm(input_gate: str, peepholes: bool) -> None:
    cell = made("stepwise_lstm", input_gate=input_gate, peepholes=peepholes, forget_bias=1.0)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    h, c = (array(part[:, 0]) for part in state)
    peep = array(layer.peep) if peepholes else np.zeros((3, H))
    for x in array(INPUT_BTX).swapaxes(0, 1):
        parts = np.split(affine(layer.enter, x) + affine(layer.recur, h), 3 if input_gate == "coupled" else 4, -1)
        f = sigmoid(parts[0] + 1.0 + peep[0] * c)
        i = 1 - f if input_gate == "coupled" else sigmoid(parts[3] + peep[2] * c)
        c = f * c + i * np.tanh(parts[1])
        h = sigmoid(parts[2] + peep[1] * c) * np.tanh(c)
        outputs.append(h)
    check(cell, state, outputs, [h, c])


def test_stepwise_gru_and_mgu() -> None:
    for kind in ("stepwise_gru", "mgu"):
        cell = made(kind)
        state, layer, outputs = random_state(cell), cell.maps[0], []
        h = array(state[0][:, 0])
        for x in array(INPUT_BTX).swapaxes(0, 1):
            parts, again = (
                np.split(affine(layer.enter, x), 3 if kind == "stepwise_gru" else 2, -1),
                affine(layer.recur, h),
            )
            if kind == "stepwise_gru":
                reset, update = sigmoid(parts[0] + again[:, :H]), sigmoid(parts[1] + again[:, H:])
                h = (1 - update) * np.tanh(parts[2] + affine(layer.new, reset * h)) + update * h
            else:
                forget = sigmoid(parts[0] + again)
                h = (1 - forget) * h + forget * np.tanh(parts[1] + affine(layer.new, forget * h))
            outputs.append(h)
        check(cell, state, outputs, [h])


def test_sru() -> None:
    cell = made("sru")
    state, layer, outputs = random_state(cell), cell.maps[0], []
    c, v = array(state[1][:, 0]), array(layer.recur)
    for x in array(INPUT_BTX).swapaxes(0, 1):
        gates = np.split(affine(layer.enter, x), 2, -1)
        f, r = sigmoid(gates[0] + v[0] * c), sigmoid(gates[1] + v[1] * c)
        c = f * c + (1 - f) * affine(layer.new, x)
        outputs.append(r * c + (1 - r) * affine(layer.skip, x))
    check(cell, state, outputs, [outputs[-1], c])
    same = Cell.kinds["sru"].Config(hidden=X).build(entering=X)
    assert isinstance(same.maps[0].skip, nn.Identity)


def test_slstm_is_the_formula_without_a_stabilizer() -> None:
    cell = made("slstm")
    state, layer, outputs = zeros(cell), cell.maps[0], []
    h = c = n = np.zeros((B, H))
    for x in array(INPUT_BTX).swapaxes(0, 1):
        z, i, f, o = np.split(affine(layer.enter, x) + affine(layer.recur, h), 4, -1)
        c, n = sigmoid(f) * c + np.exp(i) * np.tanh(z), sigmoid(f) * n + np.exp(i)
        h = sigmoid(o) * c / n
        outputs.append(h)
    np.testing.assert_allclose(array(cell(INPUT_BTX, state)[0]), np.stack(outputs, 1), rtol=1e-10)
    _, (_, scaled, total, most) = cell(INPUT_BTX, state)
    np.testing.assert_allclose(array((scaled * most.exp())[:, 0]), c, rtol=1e-10)
    np.testing.assert_allclose(array((total * most.exp())[:, 0]), n, rtol=1e-10)


@pytest.mark.parametrize("kind", ("slstm", "mlstm"))
def test_exponential_gates_do_not_overflow(kind: str) -> None:
    cell = made(kind).float()
    output, state = cell(200 * INPUT_BTX.float(), tuple(part.float() for part in zeros(cell)))
    assert bool(output.isfinite().all()) and all(bool(part.isfinite().all()) for part in state)
    output.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in cell.parameters())


def test_layer_norm_lstm() -> None:
    cell = made("layer_norm_lstm", forget_bias=1.0)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    h, c = (part[:, 0] for part in state)
    for x in INPUT_BTX.unbind(1):
        gates = F.layer_norm(x @ layer.enter.weight.T, (4 * H,), 1 + layer.enter_norm.gain, layer.bias)
        gates = gates + F.layer_norm(h @ layer.recur.weight.T, (4 * H,), 1 + layer.recur_norm.gain)
        f, i, o, g = gates.chunk(4, -1)
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(F.layer_norm(c, (H,), 1 + layer.cell_norm.gain, layer.cell_bias))
        outputs.append(array(h))
    check(cell, state, outputs, [array(h), array(c)])


def test_layer_norm_gru() -> None:
    cell = made("layer_norm_gru")
    state, layer, outputs = random_state(cell), cell.maps[0], []
    h = state[0][:, 0]
    for x in INPUT_BTX.unbind(1):
        entering, again = x @ layer.enter.weight.T, h @ layer.recur.weight.T
        gates = F.layer_norm(entering[:, : 2 * H], (2 * H,), 1 + layer.enter_norm.gain, layer.bias[: 2 * H])
        gates = gates + F.layer_norm(again[:, : 2 * H], (2 * H,), 1 + layer.recur_norm.gain)
        z, r = torch.sigmoid(gates).chunk(2, -1)
        new = F.layer_norm(entering[:, 2 * H :], (H,), 1 + layer.enter_new.gain, layer.bias[2 * H :])
        new = new + r * F.layer_norm(again[:, 2 * H :], (H,), 1 + layer.recur_new.gain, layer.recur_bias)
        h = (1 - z) * h + z * torch.tanh(new)
        outputs.append(array(h))
    check(cell, state, outputs, [array(h)])


# ---------------------------------------------------------------------------------------------------- parallel scans


def g(x: Any) -> Any:
    return np.where(x >= 0, x + 0.5, sigmoid(x))


def test_mingru_and_minlstm() -> None:
    for candidate in ("linear", "positive"):
        bent = g if candidate == "positive" else np.asarray
        for kind in ("mingru", "minlstm"):
            cell = made(kind, candidate=candidate)
            state, outputs = random_state(cell), []
            h = array(state[0][:, 0])
            for x in array(INPUT_BTX).swapaxes(0, 1):
                if kind == "mingru":
                    z, new = np.split(affine(cell.maps[0], x), 2, -1)
                    h = (1 - sigmoid(z)) * h + sigmoid(z) * bent(new)
                else:
                    f, i, new = np.split(affine(cell.maps[0], x), 3, -1)
                    f, i = sigmoid(f + cell.forget_bias), sigmoid(i)
                    h = f / (f + i) * h + i / (f + i) * bent(new)
                outputs.append(h)
            check(cell, state, outputs, [h])


def test_mingru_is_its_published_scan_over_logarithms() -> None:
    """Feng et al. 2024, appendix B: ``log h_t = A_t + logcumsumexp(log b_t - A_t)``, A the sum of log factors."""
    cell = made("mingru", candidate="positive")
    gate, new = cell.maps[0](INPUT_BTX).chunk(2, -1)
    logs = torch.where(new >= 0, (F.relu(new) + 0.5).log(), F.logsigmoid(new)) - F.softplus(-gate)
    first = torch.full((B, 1, H), 0.3, dtype=torch.double)
    faded = F.pad((-F.softplus(gate)).cumsum(1), (0, 0, 1, 0))
    want = (faded + (torch.cat([first.log(), logs], 1) - faded).logcumsumexp(1)).exp()[:, 1:]
    torch.testing.assert_close(cell(INPUT_BTX, (first,))[0], want)


def test_rglru() -> None:
    cell = made("rglru")
    state, layer, outputs = random_state(cell), cell.maps[0], []
    h, decay = array(state[0][:, 0]), sigmoid(array(layer.start_H + layer.decay))
    np.testing.assert_allclose(sigmoid(array(layer.start_H)) ** 8, np.linspace(0.9, 0.999, H), rtol=1e-5)
    for x in array(INPUT_BTX).swapaxes(0, 1):
        u = affine(layer.enter, x)
        r, i = np.split(sigmoid(affine(layer.gates, u)), 2, -1)
        a = decay ** (8 * r)
        h = a * h + np.sqrt(1 - a**2) * (i * u)
        outputs.append(h)
    check(cell, state, outputs, [h])


def test_s6() -> None:
    cell = made("s6", states=3)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    np.testing.assert_allclose(np.exp(array(layer.start_D)), [1, 2, 3], rtol=1e-6)
    S, poles = array(state[1][:, 0]).copy(), -np.exp(array(layer.start_D + layer.poles.view(-1, 3)))
    for x in array(INPUT_BTX).swapaxes(0, 1):
        u = affine(layer.enter, x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6))
        write, read = np.split(affine(layer.read_write, u), 2, -1)
        pace = softplus(affine(layer.pace[1], affine(layer.pace[0], u)) - 4)
        for b in range(B):
            for unit in range(H):
                factor = np.exp(pace[b, unit] * poles[unit])
                S[b, unit] = factor * S[b, unit] + pace[b, unit] * write[b] * u[b, unit]
        outputs.append(np.einsum("bhn,bn->bh", S, read) + (1 + array(layer.skip)) * u)
    check(cell, state, outputs, [outputs[-1], S])


# ---------------------------------------------------------------------------------------------------------- matrices


def heads(x: Any) -> Any:
    return x.reshape(B, 2, H // 2)


def rms(x: Any) -> Any:
    return (x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)).reshape(B, H)


def written(matrix: Any, key: Any, value: Any) -> Any:
    """Each matrix plus the outer product of its key and value."""
    return matrix + np.einsum("bhk,bhv->bhkv", key, value)


def read(matrix: Any, query: Any) -> Any:
    return np.einsum("bhkv,bhk->bhv", matrix, query)


def test_mlstm() -> None:
    cell = made("mlstm", heads=2)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    _, C, n, m = (array(part[:, 0]) for part in state)
    C, n = C * np.exp(m)[..., None, None], n * np.exp(m)[..., None]  # as they are without a stabilizer
    for x in array(INPUT_BTX).swapaxes(0, 1):
        q, k, v, o = map(heads, np.split(affine(layer.enter, x), 4, -1))
        i, f = np.split(affine(layer.gates, x), 2, -1)
        i, f, k = np.exp(i)[..., None], sigmoid(f)[..., None], k / np.sqrt(H // 2)
        C, n = written(f[..., None] * C, i * k, v), f * n + i * k
        divisor = np.maximum(np.abs((n * q).sum(-1, keepdims=True)), 1)
        outputs.append((sigmoid(o) * read(C, q) / divisor).reshape(B, H))
    output, (visible, matrix, total, most) = cell(INPUT_BTX, state)
    np.testing.assert_allclose(array(output), np.stack(outputs, 1), rtol=1e-9)
    np.testing.assert_allclose(array(matrix * most.exp()[..., None, None])[:, 0], C, rtol=1e-9)
    np.testing.assert_allclose(array(total * most.exp()[..., None])[:, 0], n, rtol=1e-9)
    assert torch.equal(visible[:, 0], output[:, -1])


def test_gla() -> None:
    cell = made("gla", heads=2)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    S = array(state[1][:, 0])
    for x in array(INPUT_BTX).swapaxes(0, 1):
        q, k, v, r = np.split(affine(layer.enter, x), 4, -1)
        fade = heads(sigmoid(affine(layer.forget[1], affine(layer.forget[0], x))) ** (1 / 16))
        S = written(fade[..., None] * S, heads(k), heads(v))
        outputs.append(affine(layer.leave, r * sigmoid(r) * rms(read(S, heads(q)))))
    check(cell, state, outputs, [outputs[-1], S])


def test_deltanet() -> None:
    cell = made("deltanet", heads=2)
    state, layer, outputs = random_state(cell), cell.maps[0], []
    S = array(state[1][:, 0])
    for x in array(INPUT_BTX).swapaxes(0, 1):
        parts = affine(layer.enter, x)
        q, k, v = map(heads, np.split(parts * sigmoid(parts), 3, -1))
        q, k = (part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (q, k))
        w = sigmoid(affine(layer.strength, x))[..., None]
        # (I - w k k^T) S + w k v^T: what stood under the key goes, by its strength.
        S = S - np.einsum("bhk,bhj,bhjv->bhkv", w * k, k, S)
        S = written(S, w * k, v)
        outputs.append(affine(layer.leave, rms(read(S, q))))
    check(cell, state, outputs, [outputs[-1], S])


def test_deltanet_trains_in_bf16() -> None:
    cell = made("deltanet", heads=2).float()
    input_BTX, state = INPUT_BTX.float(), tuple(part.float() for part in zeros(cell))
    want = cell(input_BTX, state)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = cell(input_BTX, state)[0]
    got.sum().backward()
    torch.testing.assert_close(got.float(), want, rtol=0.1, atol=0.1)
    assert all(bool(p.grad.isfinite().all()) for p in cell.parameters())


def test_a_word_without_a_vector_does_not_blow_up_gradients() -> None:
    """Keys and queries of zero have no length: padding read like words, under an initializer without biases."""
    for kind in ("deltanet", "gla", "mlstm", "s6"):
        cell = made(kind).float()
        with torch.no_grad():
            for name, parameter in cell.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
        input_BTX = INPUT_BTX.float()
        input_BTX[:, 3:] = 0.0
        cell(input_BTX, tuple(part.float() for part in zeros(cell)))[0].sum().backward()
        assert max(float(p.grad.abs().max()) for p in cell.parameters()) < 1e8, kind


def test_a_full_overwrite_reads_back_what_was_written() -> None:
    cell = made("deltanet")
    key = F.normalize(torch.randn(B, 1, H, dtype=torch.double), dim=-1)
    value = torch.randn(B, 1, H, dtype=torch.double)
    matrix = torch.randn(B, 1, H, H, dtype=torch.double)
    found, _ = cell.one((torch.ones(B, 1, 1, dtype=torch.double), key, value, key), (matrix,))
    torch.testing.assert_close(found, value)


def test_gla_is_attention_with_decay() -> None:
    """From zeros: ``o_t = sum_{s <= t} (q_t * (a_{s+1} ... a_t)) . k_s v_s``, as one matrix of scores over all steps."""
    cell = made("gla")
    fade, key, value, query, _ = (part[:, :, 0] for part in cell.drive(cell.maps[0], INPUT_BTX))
    scores = torch.zeros(B, T, T, dtype=torch.double)
    for t in range(T):
        for s in range(t + 1):
            scores[:, t, s] = (query[:, t] * key[:, s] * fade[:, s + 1 : t + 1].sum(1).exp()).sum(-1)
    found, _ = cell.many(tuple(cell.drive(cell.maps[0], INPUT_BTX)), (torch.zeros(B, 1, H, H, dtype=torch.double),))
    torch.testing.assert_close(found[:, :, 0], scores @ value)


def test_heads_divide_the_units() -> None:
    with pytest.raises(Incompatible, match="divisor of 4"):
        made("gla", heads=3)


@pytest.mark.parametrize("kind", ("deltanet", "gla", "mlstm", "mingru", "s6"))
@pytest.mark.parametrize("steps", (16, 65, 130))
def test_longer_inputs_are_computed_in_pieces(kind: str, steps: int) -> None:
    cell = made(kind)
    input_BTX = torch.randn(2, steps, X, dtype=torch.double)
    state = tuple(torch.randn(2, *shape, dtype=torch.double) for shape in cell.tensors)
    mask_BS = torch.arange(steps) < torch.tensor([[steps], [steps - 20 if steps > 20 else 3]])
    for mask in (None, mask_BS):
        torch.testing.assert_close(
            cell.scan(0, 0, input_BTX, state, mask), Cell.scan(cell, 0, 0, input_BTX, state, mask)
        )

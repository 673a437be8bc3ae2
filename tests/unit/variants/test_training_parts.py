"""Teacher forcing, orders, schedules, optimizers and initializers on numbers worked by hand."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import pytest
import torch
from torch import nn

from harness.contracts import Initializer, Lengths, Optimizer, Pass
from variants import initializers, optimizers, orders, orders_competence, schedules, teacher_forcing
from variants.cells_scan import SelectiveStateSpace


def test_ratios_follow_their_formulas() -> None:
    linear = teacher_forcing.Linear(teacher_forcing.Linear.Config(ratio=1.0, end=0.2, over=10))
    assert [linear.ratio(i) for i in (0, 5, 10, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    exponential = teacher_forcing.Exponential(teacher_forcing.Exponential.Config(k=0.5))
    assert [exponential.ratio(i) for i in (0, 1, 3)] == [1.0, 0.5, 0.125]
    sigmoid = teacher_forcing.InverseSigmoid(teacher_forcing.InverseSigmoid.Config(k=100.0))
    assert sigmoid.ratio(0) == pytest.approx(100 / 101)
    assert sigmoid.ratio(round(100 * math.log(100))) == pytest.approx(0.5, abs=0.01)
    assert sigmoid.ratio(10**9) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("coin", ["token", "step", "sequence", "batch"])
def test_a_coin_decides_what_it_says(coin: str) -> None:
    config = teacher_forcing.Constant.Config(ratio=0.5, coin=coin)  # type: ignore[arg-type]
    forcing = teacher_forcing.Constant(config)
    tosses = torch.Generator().manual_seed(0)
    tossed = [forcing.gold(0, 8, 6, tosses) for _ in range(200)]
    golds = torch.stack([torch.ones(8, 6, dtype=torch.bool) if gold is None else gold for gold in tossed])
    assert golds[:, :, 0].all(), "the first word is always heard"
    free = golds[:, :, 1:]
    assert float(free.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert bool((free == free[:, :1]).all()) == (coin in ("step", "batch"))
    assert bool((free == free[:, :, :1]).all()) == (coin in ("sequence", "batch"))


def test_full_forcing_tosses_nothing() -> None:
    forcing = teacher_forcing.Constant(teacher_forcing.Constant.Config(ratio=1.0))
    tosses = torch.Generator().manual_seed(0)
    before = tosses.get_state()
    assert forcing.gold(0, 3, 3, tosses) is None and torch.equal(tosses.get_state(), before)


def test_schedules_follow_their_formulas() -> None:
    linear = schedules.Linear(schedules.Linear.Config(warmup=4))
    assert [linear.factor(i, 12) for i in (0, 1, 4, 8, 12)] == pytest.approx([0.25, 0.5, 1.0, 0.5, 0.0])
    cosine = schedules.Cosine(schedules.Cosine.Config())
    assert [cosine.factor(i, 10) for i in (0, 5, 10)] == pytest.approx([1.0, 0.5, 0.0])
    root = schedules.InverseSqrt(schedules.InverseSqrt.Config(warmup=100))
    assert [root.factor(i, 0) for i in (0, 49, 99, 399)] == pytest.approx([0.01, 0.5, 1.0, 0.5])
    steps = schedules.Exponential(schedules.Exponential.Config(rate=0.5, start=10, every=5))
    assert [steps.factor(i, 0) for i in (0, 14, 15, 20)] == [1.0, 1.0, 0.5, 0.25]


def test_short_pairs_come_first_and_all_in_the_end() -> None:
    lengths = Lengths(torch.tensor([5, 1, 4, 2, 3, 9]), torch.tensor([1, 2, 3, 4, 5, 6]))

    def visited(update: int, **settings: Any) -> list[int]:
        order = orders.ShortFirst(orders.ShortFirst.Config(over=10, **settings))
        return sorted(order.rows(Pass(0, update), lengths, torch.Generator().manual_seed(0)).tolist())

    # The share is sqrt(0.25 + 0.75 i / 10): 0.5, 0.707 and 1 of six pairs.
    assert [visited(update, start=0.5) for update in (0, 3)] == [[1, 3, 4], [0, 1, 2, 3, 4]]
    assert visited(10, start=0.5) == visited(999, start=0.5) == list(range(6))
    assert visited(0, start=0.01) == [1], "one pair at least"
    assert visited(0, start=0.5, by="target") == [0, 1, 2]


def test_the_easiest_pairs_come_first_by_competence() -> None:
    lengths = Lengths(torch.tensor([5, 1, 4, 2, 3, 9]), torch.tensor([1, 2, 3, 4, 5, 6]))
    rare = lengths._replace(rarities=lambda: (torch.tensor([6.0, 5, 4, 3, 2, 1]), torch.tensor([1.0, 9, 2, 9, 9, 9])))

    def visited(update: int, given: Lengths = lengths, seed: int = 0, **settings: Any) -> list[int]:
        order = orders_competence.Competence(orders_competence.Competence.Config(over=10, start=0.5, **settings))
        return sorted(order.rows(Pass(0, update), given, torch.Generator().manual_seed(seed)).tolist())

    # The share of six pairs is sqrt(0.25 + 0.75 i / 10) or 0.5 + 0.5 i / 10: 0.69 and 0.65 at update 3.
    assert visited(3, growth="square_root") == [0, 1, 2, 3, 4] and visited(3, growth="linear") == [1, 2, 3, 4]
    assert visited(0) == [1, 3, 4] and visited(0, by="target") == [0, 1, 2]
    assert visited(0, rare, difficulty="rarity") == [3, 4, 5] and visited(10) == visited(999) == [*range(6)]
    among_equals = {tuple(visited(0, rare, seed, difficulty="rarity", by="target")) for seed in range(30)}
    assert among_equals == {(0, 1, 2), (0, 2, 3), (0, 2, 4), (0, 2, 5)}, "equally difficult ones take turns"
    with pytest.raises(ValueError, match="only lengths are known"):
        visited(0, difficulty="rarity")


def one_step(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradient: float) -> float:
    weight.grad = torch.tensor([gradient])
    optimizer.step()
    return float(weight.detach())


def test_optimizers_step_as_published() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    sgd = optimizers.Sgd(optimizers.Sgd.Config(lr=0.1, momentum=0.5)).over([weight])
    assert one_step(sgd, weight, 2.0) == pytest.approx(0.8)
    assert one_step(sgd, weight, 2.0) == pytest.approx(0.8 - 0.1 * 3.0)
    weight = nn.Parameter(torch.tensor([1.0]))
    adam = optimizers.Adam(optimizers.Adam.Config(lr=0.1)).over([weight])
    assert one_step(adam, weight, 3.0) == pytest.approx(0.9), "the first step of Adam is the learning rate"
    weight = nn.Parameter(torch.tensor([1.0]))
    adamw = optimizers.AdamW(optimizers.AdamW.Config(lr=0.1, decay=0.5)).over([weight])
    assert one_step(adamw, weight, 3.0) == pytest.approx(1.0 - 0.1 * 0.5 - 0.1)


@pytest.mark.parametrize(
    "made",
    [
        optimizers.Sgd(optimizers.Sgd.Config(lr=0.1, momentum=0.5)),
        optimizers.Adam(optimizers.Adam.Config(lr=0.1)),
        optimizers.AdamW(optimizers.AdamW.Config(lr=0.1)),
    ],
    ids=lambda made: type(made).__name__,
)
def test_optimizers_are_torchs_to_the_last_bit_and_continue_from_its_state(made: Optimizer) -> None:
    gradients = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(torch.ones(5, 4)), nn.Parameter(torch.ones(5, 4))
    eager = made.over([ours])
    own = type(eager).__mro__[1]
    assert own.__module__.startswith("torch.optim")
    plain = own(
        [theirs], **{name: eager.defaults[name] for name in signature(own).parameters if name in eager.defaults}
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        eager.step()
        plain.step()
        assert torch.equal(ours, theirs)
        eager.zero_grad()
        assert ours.grad is None and ours.requires_grad
        eager, state = made.over([ours]), eager.state_dict()  # as from a checkpoint
        eager.load_state_dict(state)
        plain.load_state_dict(plain.state_dict())
        assert str(eager.state_dict()) == str(plain.state_dict())


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"words": nn.Embedding(9, 4, padding_idx=0), "cell": nn.LSTM(4, 6), "out": nn.Linear(6, 9)})


@pytest.mark.parametrize("kind", sorted(Initializer.kinds))  # type: ignore[attr-defined]
def test_initializers_leave_padding_at_zero(kind: str) -> None:
    model = small()
    part = Initializer.kinds[kind]  # type: ignore[attr-defined]
    part(part.Config()).fill(model)
    assert not model["words"].weight[0].any() and model["words"].weight[1:].all()  # type: ignore[index]


@pytest.mark.parametrize("kind", sorted(Initializer.kinds))  # type: ignore[attr-defined]
def test_initializers_leave_padding_at_zero_in_a_table_that_an_output_shares(kind: str) -> None:
    """Whose values are drawn twice: as those of the table, and as those of the output."""
    words, out = nn.Embedding(5, 3, padding_idx=0), nn.Linear(3, 5, bias=False)
    out.weight = words.weight
    part = Initializer.kinds[kind]  # type: ignore[attr-defined]
    part(part.Config()).fill(nn.ModuleDict({"words": words, "cell": nn.RNN(3, 3), "out": out}))
    assert not words.weight[0].any() and words.weight[1:].all()


@pytest.mark.parametrize("kind", sorted(Initializer.kinds))  # type: ignore[attr-defined]
def test_initializers_leave_the_poles_of_s6_where_they_start(kind: str) -> None:
    """At -1 to -N for every unit (Gu and Dao 2023): their distances from there are no matrix."""
    cell = SelectiveStateSpace.Config(hidden=8, states=4).build(entering=3)
    part = Initializer.kinds[kind]  # type: ignore[attr-defined]
    part(part.Config()).fill(nn.ModuleDict({"s6": cell, "cell": nn.RNN(3, 3)}))
    poles = [parameter for name, parameter in cell.named_parameters() if name.endswith("poles")]
    assert [len(values) for values in poles] == [32] and not poles[0].any()


def test_what_is_drawn_by_part_leaves_vectors_of_distances_to_their_own_part() -> None:
    """Without a choice of its own a table keeps the values that its part gave it, whatever draws the matrices."""
    table = nn.Embedding(9, 16)
    nn.init.constant_(table.weight, 0.2)
    Initializer.kinds["by_part"].Config(matrices={"kind": "xavier"}).build().fill(table)  # type: ignore[attr-defined]
    assert table.weight.eq(0.2).all()


@pytest.mark.parametrize("kind", sorted(Initializer.kinds))  # type: ignore[attr-defined]
def test_initializers_leave_norms_as_they_start(kind: str) -> None:
    """The gain of a norm is a vector, but no bias: at zero it would silence all that stands behind it."""
    model = nn.ModuleDict(
        {"cell": nn.RNN(4, 6), "one": nn.LayerNorm(6), "two": nn.RMSNorm(6), "three": nn.GroupNorm(2, 6)}
    )
    part = Initializer.kinds[kind]  # type: ignore[attr-defined]
    part(part.Config()).fill(model)
    for name in ("one", "two", "three"):
        assert model[name].weight.eq(1).all()  # type: ignore[union-attr,operator]
    assert not model["one"].bias.any()  # type: ignore[union-attr,operator]


def test_initializers_draw_as_published() -> None:
    model = small()
    initializers.Orthogonal(initializers.Orthogonal.Config()).fill(model)
    for gate in model["cell"].weight_hh_l0.chunk(4):  # type: ignore[index,union-attr,operator]
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))
    assert not model["out"].bias.any()  # type: ignore[index,union-attr]
    initializers.Xavier(initializers.Xavier.Config()).fill(model)
    bound = math.sqrt(6 / (6 + 4))
    largest = max(float(gate.detach().abs().max()) for gate in model["cell"].weight_ih_l0.chunk(4))  # type: ignore[index,union-attr,operator]
    assert 0.9 * bound < largest <= bound
    initializers.Uniform(initializers.Uniform.Config(range=0.08)).fill(model)
    assert 0.07 < float(model["out"].weight.detach().abs().max()) <= 0.08  # type: ignore[index,union-attr]

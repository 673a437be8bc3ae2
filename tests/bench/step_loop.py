"""Training as most tutorials write it: configuration M in a loop over target words, for the ratio of teacher forcing.

``StepLoop`` has the same layers as the configuration of this harness, called as tutorials call them: ``nn.LSTM`` for one
word at a time, scores of the whole vocabulary at every step and at padding too, one toss a step for the whole batch, then a
cross entropy that ignores padding, clipping, and Adam as torch makes it. ``Tutorial`` attends and speaks as tutorials on
Multi30k do, too: additive attention with the state before, whose keys are projected anew at every step, and an output that
sees state, context and word.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from harness.contracts import PAD, Batch


class StepLoop(nn.Module):
    """A bidirectional LSTM, and an LSTM that attends with its new state and hears its own word at every other step."""

    def __init__(self, words: int = 8000, embedded: int = 256, hidden: int = 512, ratio: float = 0.5) -> None:
        super().__init__()
        self.ratio, self.words, self.drop = ratio, words, nn.Dropout(0.2)
        self.source, self.target = nn.Embedding(words, embedded), nn.Embedding(words, embedded)
        self.encoder = nn.LSTM(embedded, hidden // 2, batch_first=True, bidirectional=True)
        self.bridges = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.decoder = nn.LSTM(embedded, hidden, batch_first=True)
        self.score = nn.Linear(hidden, hidden, bias=False)
        self.merge, self.output = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, words)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.001)

    def forward(self, batch: Batch) -> Tensor:
        """Return the scores of all words at every step, B x T x V."""
        memory_BSM, state, padding_BS = self._read(batch.source_BS)
        heard_B, steps = batch.inputs_BT[:, 0], batch.inputs_BT.shape[1]
        scores_BTV = torch.zeros(len(heard_B), steps, self.words)
        for t in range(steps):
            scores_BV, state = self._step(heard_B, memory_BSM, state, padding_BS)
            scores_BTV[:, t] = scores_BV
            if t + 1 < steps:
                heard_B = batch.inputs_BT[:, t + 1] if random.random() < self.ratio else scores_BV.argmax(1)
        return scores_BTV

    def update(self, batch: Batch) -> int:
        """Train on a batch and return its number of target words."""
        self.train()
        self.optimizer.zero_grad()
        scores_BTV = self(batch)
        loss = nn.functional.cross_entropy(scores_BTV.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=PAD)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
        loss.item()
        return int(batch.real_BT.sum())

    def _read(self, source_BS: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        padding_BS = source_BS == PAD
        embedded = self.drop(self.source(source_BS))
        packed = pack_padded_sequence(embedded, (~padding_BS).sum(1), batch_first=True, enforce_sorted=False)
        read, last = self.encoder(packed)
        both = (torch.cat([part[0], part[1]], 1) for part in last)
        state = tuple(torch.tanh(bridge(part)).unsqueeze(0) for bridge, part in zip(self.bridges, both, strict=True))
        return pad_packed_sequence(read, batch_first=True)[0], state, padding_BS

    def _step(
        self, heard_B: Tensor, memory_BSM: Tensor, state: tuple[Tensor, ...], padding_BS: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        heard_B1H, state = self.decoder(self.drop(self.target(heard_B.unsqueeze(1))), state)
        energy_B1S = torch.bmm(self.score(heard_B1H), memory_BSM.transpose(1, 2))
        weights_B1S = energy_B1S.masked_fill(padding_BS.unsqueeze(1), -torch.inf).softmax(-1)
        context_B1M = torch.bmm(weights_B1S, memory_BSM)
        merged_B1H = torch.tanh(self.merge(torch.cat([heard_B1H, context_B1M], -1)))
        return self.output(self.drop(merged_B1H)).squeeze(1), state


class Tutorial(StepLoop):
    """The same loop with the attention and the output of the tutorials."""

    def __init__(self, words: int = 8000, embedded: int = 256, hidden: int = 512, ratio: float = 0.5) -> None:
        super().__init__(words, embedded, hidden, ratio)
        self.decoder = nn.LSTM(embedded + hidden, hidden, batch_first=True)
        self.score, self.merge = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.output = nn.Linear(2 * hidden + embedded, words)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=0.001)

    def _step(
        self, heard_B: Tensor, memory_BSM: Tensor, state: tuple[Tensor, ...], padding_BS: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        word_B1E = self.drop(self.target(heard_B.unsqueeze(1)))
        before_BSH = state[0].transpose(0, 1).repeat(1, memory_BSM.shape[1], 1)
        energy_BS = self.merge(torch.tanh(self.score(torch.cat([before_BSH, memory_BSM], 2)))).squeeze(2)
        weights_B1S = energy_BS.masked_fill(padding_BS, -1e10).softmax(1).unsqueeze(1)
        context_B1M = torch.bmm(weights_B1S, memory_BSM)
        said_B1H, state = self.decoder(torch.cat([word_B1E, context_B1M], 2), state)
        return self.output(torch.cat([said_B1H, context_B1M, word_B1E], 2)).squeeze(1), state

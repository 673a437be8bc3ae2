"""What each part promises: the slots as abstract classes, and the tensors that pass between parts.

Shape suffixes are part of a tensor's name (``weights_BTS``) and are checked while the tests run:

====== ================== ====== =================== ====== ======================
B      batch              S      source steps        T      target steps
E      embedding          M      memory width        L      layers
H      hidden             C      context width       A      attention width
R      readout width      V      vocabulary          K      beam
X      any input width    N      chosen positions    D      model width
F      fed back           G      cells of a grid      1, 0   just so many
P      heads              U      the batch, or 1     W      candidates
J      computed prefixes
====== ================== ====== =================== ====== ======================

Batch comes first everywhere, in states too.
"""

# The order of a trial's branches is that of every list of slots.
# isort: off
from harness.contracts.splits import COLUMNS, Row, Rows, digests
from harness.contracts.data import FIELDS, Dataset, Tokenizer, split_fields
from harness.contracts.model import Attention, Bridge, Cell, Context, Decoder, Embeddings, Encoder, Output, Positions
from harness.contracts.tensors import (
    BOS,
    EOS,
    PAD,
    SPECIALS,
    UNK,
    Join,
    Memory,
    Readout,
    Source,
    State,
    StateShape,
    Words,
    best_words,
    repeat,
    rows,
    sayable,
    select,
)
from harness.contracts.contexts import Merge, Place, Summary, Weighing, softmax_over
from harness.contracts.pieces import in_pieces
from harness.contracts.layered_cells import ParallelCell, ScannedCell, Stacked, StepwiseCell
from harness.contracts.training import (
    Batch,
    Initializer,
    Lengths,
    Objective,
    Optimizer,
    Order,
    Pass,
    Pretraining,
    Schedule,
    Streams,
    Sum,
    TeacherForcing,
    eager,
    target_nll,
)
from harness.contracts.corruption import Corruption
from harness.contracts.averaging import Averaging
from harness.contracts.training_choice import TrainingChoice
from harness.contracts.decoding import Found, Remaining, Said, Search, to_compute
from harness.contracts.metric import Metric, Scored
# isort: on

__all__ = [
    "BOS",
    "COLUMNS",
    "EOS",
    "FIELDS",
    "PAD",
    "SPECIALS",
    "UNK",
    "Attention",
    "Averaging",
    "Batch",
    "Bridge",
    "Cell",
    "Context",
    "Corruption",
    "Dataset",
    "Decoder",
    "Embeddings",
    "Encoder",
    "Found",
    "Initializer",
    "Join",
    "Lengths",
    "Memory",
    "Merge",
    "Metric",
    "Objective",
    "Optimizer",
    "Order",
    "Output",
    "ParallelCell",
    "Pass",
    "Place",
    "Positions",
    "Pretraining",
    "Readout",
    "Remaining",
    "Row",
    "Rows",
    "Said",
    "ScannedCell",
    "Schedule",
    "Scored",
    "Search",
    "Source",
    "Stacked",
    "State",
    "StateShape",
    "StepwiseCell",
    "Streams",
    "Sum",
    "Summary",
    "TeacherForcing",
    "Tokenizer",
    "TrainingChoice",
    "Weighing",
    "Words",
    "best_words",
    "digests",
    "eager",
    "in_pieces",
    "repeat",
    "rows",
    "sayable",
    "select",
    "softmax_over",
    "split_fields",
    "target_nll",
    "to_compute",
]

"""What a head's weights say by themselves: QK and OV circuits in the residual stream and in token space."""

from interp.circuits.diagonal import DiagonalScores, diagonal_scores
from interp.circuits.entries import Entries, RowEntries, top_entries, top_per_row
from interp.circuits.factored import Factored
from interp.circuits.low_rank import Concentration, Ranks, concentration, ranks
from interp.circuits.own_entries import OwnContrast, OwnRanks, own_contrast, own_ranks
from interp.circuits.spectra import SharedTables, ov_tables, qk_tables
from interp.circuits.tables import (
    SkipTrigram,
    Source,
    asymmetry,
    centred_rows,
    copying_score,
    direct_path,
    full_ov,
    full_qk,
    ov,
    qk,
    skip_trigrams,
)

__all__ = [
    "Concentration",
    "DiagonalScores",
    "Entries",
    "Factored",
    "OwnContrast",
    "OwnRanks",
    "Ranks",
    "RowEntries",
    "SharedTables",
    "SkipTrigram",
    "Source",
    "asymmetry",
    "centred_rows",
    "concentration",
    "copying_score",
    "diagonal_scores",
    "direct_path",
    "full_ov",
    "full_qk",
    "ov",
    "ov_tables",
    "own_contrast",
    "own_ranks",
    "qk",
    "qk_tables",
    "ranks",
    "skip_trigrams",
    "top_entries",
    "top_per_row",
]

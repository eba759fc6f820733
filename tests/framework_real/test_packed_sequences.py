"""Several documents in one row, told apart by positions that begin again: no mask is given."""

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForCausalLM

from support.real_framework import Models, Source, logits, random_ids

GetModels = Callable[[Source], Models]
FAMILIES = ("llama", "mistral", "qwen3")
LENGTHS = (9, 5, 10)


def packed_positions(batch: int) -> torch.Tensor:
    """The positions as the framework's collator makes them from the documents' first tokens."""
    from forgather.ml.data_collator import get_pos_ids_for_packed_sequence

    starts = torch.tensor([0, *LENGTHS[:-1]]).cumsum(0)
    row = torch.zeros(batch, sum(LENGTHS), dtype=torch.long)
    positions: torch.Tensor = get_pos_ids_for_packed_sequence(
        row, document_starts=starts.expand(batch, -1)
    )
    return positions


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa", "flex_attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_documents_do_not_attend_to_each_other(
    family: str, attn_implementation: str, mode: str, models: GetModels
) -> None:
    made = models(Source(family))
    model = AutoModelForCausalLM.from_pretrained(
        made.ours, trust_remote_code=True, attn_implementation=attn_implementation
    )
    assert model.config.use_cache
    model.train(mode == "train")
    ids = random_ids(length=sum(LENGTHS))
    packed = logits(model, ids, position_ids=packed_positions(len(ids)))
    separate = [logits(model, document) for document in torch.split(ids, [*LENGTHS], dim=1)]
    torch.testing.assert_close(packed, torch.cat(separate, dim=1), atol=1e-5, rtol=0)
    one_document = logits(model, ids)
    assert not torch.allclose(packed, one_document, atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_frameworks_own_model(family: str, models: GetModels) -> None:
    made = models(Source(family))
    ids = random_ids(length=sum(LENGTHS))
    positions = packed_positions(len(ids))
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(path, trust_remote_code=True).train()
        for path in (made.ours, made.theirs)
    )
    torch.testing.assert_close(
        logits(ours, ids, position_ids=positions),
        logits(theirs, ids, position_ids=positions),
        atol=1e-5,
        rtol=0,
    )

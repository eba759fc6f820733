"""Generates from a directory with vLLM, and writes tokens and probabilities."""

import json
import sys
from pathlib import Path

import torch
from vllm import LLM, SamplingParams


def main(directory: str, result: str) -> None:
    model = LLM(
        directory,
        model_impl="transformers",
        trust_remote_code=True,
        dtype="float32",
        enforce_eager=True,
        max_model_len=64,
        block_size=32,
        max_num_seqs=4,
        max_logprobs=-1,
    )
    generator = torch.Generator().manual_seed(1)
    prompts = torch.randint(5, 250, (2, 40), generator=generator).tolist()
    outputs = model.generate(
        [{"prompt_token_ids": ids} for ids in prompts],
        SamplingParams(temperature=0, max_tokens=6, logprobs=-1, ignore_eos=True),
    )
    found = [
        {
            "tokens": list(output.outputs[0].token_ids),
            "logprobs": [
                {token: value.logprob for token, value in step.items()}
                for step in output.outputs[0].logprobs
            ],
        }
        for output in outputs
    ]
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

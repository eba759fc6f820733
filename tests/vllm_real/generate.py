"""Generates from a directory with vLLM, and writes tokens and probabilities.

With a Forgather directory as well, the server gets that model's weights first, from memory.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from vllm import LLM, SamplingParams

from forgather_convert import hf_weights


def main(directory: str, result: str, implementation: str = "transformers", fg: str = "") -> None:
    model = LLM(
        directory,
        model_impl=implementation,
        trust_remote_code=True,
        dtype="float32",
        enforce_eager=True,
        max_model_len=64,
        block_size=32,
        max_num_seqs=4,
        max_logprobs=-1,
    )
    if fg:
        trained = AutoModelForCausalLM.from_pretrained(fg, trust_remote_code=True)
        # Not load_weights of the model alone: layers may keep their weights in another form.
        model.collective_rpc("reload_weights", kwargs={"weights_iterator": hf_weights(trained)})
        model.reset_prefix_cache()
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

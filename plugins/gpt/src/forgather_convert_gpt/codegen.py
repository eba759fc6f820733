"""CodeGen: GPT-J with one matrix for queries, values and keys, and positions in float32."""

from .gptj import GPTJ


class CodeGen(GPTJ):
    """CodeGen."""

    model_type = "codegen"
    hf_model = "CodeGenForCausalLM"
    tokenizer_class = "CodeGenTokenizer"
    needs_transformers = "5.24"
    supports_version_4 = True
    layer_weights = {
        "ln_1": "norm1",
        "attn.qkv_proj": "attention.qkv_linear",
        "attn.out_proj": "attention.output_linear",
        "mlp.fc_in": "feedforward.up_proj",
        "mlp.fc_out": "feedforward.down_proj",
    }
    components = {
        **GPTJ.components,
        "positional_encoding": "gptj_positions:WideGPTJPositions",
        "attention": "codegen_attention:CodeGenAttention",
    }

"""Builds a toy model of any causal language model family that the installed transformers knows."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

#: Tokens of a toy's vocabulary, of its context, and of its sliding window, which is shorter than the rows.
VOCABULARY, CONTEXT, WINDOW = 260, 256, 8
#: Number of layers of a toy; one per kind if a family has more kinds of layers.
LAYERS = 2

#: Sizes of a toy, by the names in configs. A config takes the names that it has.
SIZES: Mapping[str, Any] = {
    **dict.fromkeys(("vocab_size", "decoder_vocab_size", "unpadded_vocab_size"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_dim", "emb_dim", "embedding_size"), 32),
    **dict.fromkeys(("lru_width", "word_embed_proj_dim", "backbone_hidden_size", "cross_attention_hidden_size"), 32),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_inner"), 48),
    **dict.fromkeys(("dim_ff", "dff", "ffn_hidden_size", "expert_ffn_hidden_size", "intermediate_size_mlp"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 16),
    **dict.fromkeys(("shared_experts_intermediate_size", "moe_shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("prefix_dense_intermediate_size", "dense_intermediate_size", "feed_forward_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), "layers"),
    "num_blocks": "layers",
    **dict.fromkeys(("encoder_layers", "num_encoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads", "swa_num_attention_heads"), 4),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_heads", "n_mamba_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("head_dim", "swa_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("kv_channels", "d_head", "dim_head", "linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("linear_head_dim", "query_pre_attn_scalar", "attention_head_size"), 8),
    **dict.fromkeys(("index_n_heads", "indexer_n_heads", "indexer_kv_heads"), 2),
    **dict.fromkeys(("index_head_dim", "indexer_head_dim"), 16),
    **dict.fromkeys(("index_topk", "indexer_budget"), 128),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 16),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size", "mamba_dt_rank", "time_step_rank"), 8),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 16),
    **dict.fromkeys(("mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions"), CONTEXT),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size", "attention_window_size"), WINDOW),
    **dict.fromkeys(("attention_chunk_size", "local_attention"), WINDOW),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("vocab_size_per_layer_input", "num_centroids"), VOCABULARY),
    **dict.fromkeys(("hidden_size_per_layer_input", "laurel_rank", "pronunciation_embed_dim", "shape_embed_dim"), 8),
    **dict.fromkeys(("pronunciation_vocab_size", "shape_vocab_size"), VOCABULARY),
    **dict.fromkeys(("image_size", "audio_vocab_size"), 32),
    **dict.fromkeys(("input_embedding_size", "output_embedding_size"), 32),
    "moe_latent_size": None, "rotary_dim": 4, "patch_size": 16, "num_kv_shared_layers": 1, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "is_decoder": True, "use_sliding_window": True, "max_window_layers": 2,
    "global_attn_every_n_layers": 2, "attention_hidden_size": 32, "decoder_start_token_id": 2,
}  # fmt: skip

#: Names in configs for the list of layer kinds.
KINDS = ("layer_types", "mlp_layer_types", "layers_block_type")

#: Layers that read the keys and values of earlier ones.
SHARING = {
    "num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": 2 * ["sliding_attention", "full_attention"],
}  # fmt: skip
#: Additional arguments of some families.
OF_FAMILY: Mapping[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "falcon_h1": {"mamba_d_ssm": 64},
    "flint": {"mlp_only_layers": [0]},
    "gemma3n_text": {**SHARING, "activation_sparsity_pattern": [0.0] * 4},
    "gemma4_text": SHARING,
    "gemma4_unified_text": SHARING,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"head_dim": 16},
    "qwen4_exp_text": {"indexer_compress_ratio": 2, "indexer_kv_heads": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": 2 * ["mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}


#: Encoders, and encoders with decoders, that transformers can read as causal language models too.
NOT_DECODERS = frozenset(
    [
        "bart",
        "bert",
        "bert-generation",
        "big_bird",
        "bigbird_pegasus",
        "blenderbot",
        "blenderbot-small",
        "camembert",
        "data2vec-text",
        "electra",
        "ernie",
        "marian",
        "mbart",
        "megatron-bert",
        "musicgen",
        "musicgen_melody",
        "mvp",
        "pegasus",
        "plbart",
        "prophetnet",
        "reformer",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "trocr",
        "whisper",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    ]
)


def families() -> list[str]:
    """Returns the type of every decoder-only model of the installed transformers, as config.json names it."""
    return sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - NOT_DECODERS)


def config_of(family: str) -> Any:
    kind = transformers.CONFIG_MAPPING[family]
    return kind(**{**_sizes(kind), **OF_FAMILY.get(family, {})})


def model_of(family: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A toy with random weights, larger than usual so that predictions differ clearly between tokens."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config_of(family)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.mul_(3)
    return model.to(dtype)


def _sizes(kind: Any) -> dict[str, Any]:
    """Returns arguments of a config: sizes, one layer of each kind that the family has by default, and its parts."""
    names = inspect.signature(kind.__init__).parameters
    sizes = {name: value for name, value in SIZES.items() if name in names}
    published = kind()
    for name in names:
        part = _value(published, name)
        if isinstance(part, transformers.PreTrainedConfig):
            sizes[name] = {"model_type": part.model_type, **_sizes(type(part)), **OF_FAMILY.get(part.model_type, {})}
    if "kv_lora_rank" in names and "num_key_value_heads" in names:  # latent attention has as many keys as queries
        sizes |= {"num_key_value_heads": sizes.get("num_attention_heads", 4)}
    kinds = {name: _value(published, name) for name in KINDS if name in names}
    kinds = {name: list(dict.fromkeys(listed)) for name, listed in kinds.items() if listed}
    layers = max([LAYERS, *(len(distinct) for distinct in kinds.values())])
    sizes |= {name: layers for name, value in SIZES.items() if value == "layers" and name in names}
    return sizes | {name: [distinct[n % len(distinct)] for n in range(layers)] for name, distinct in kinds.items()}


def _value(config: Any, name: str) -> Any:
    """Returns a value of a config, or None if it is missing or raises because it differs from layer to layer."""
    try:
        return getattr(config, name, None)
    except Exception:  # noqa: BLE001 - transformers has an exception of its own for this
        return None

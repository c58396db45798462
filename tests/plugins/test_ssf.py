"""SSF: the counts of its paper, and the placement that makes it another method."""

from tests.helpers.adapting import count, published


def test_that_vit_base_has_the_two_hundred_thousand_of_the_paper() -> None:
    assert count("ssf", {}, published("ViTForImageClassification")) == 205_824


def test_that_a_gpt2_block_has_22_times_its_width() -> None:
    two, three = (published("GPT2LMHeadModel", n_layer=layers) for layers in (2, 3))
    assert count("ssf", {}, three) - count("ssf", {}, two) == 22 * 768


def test_that_shifts_are_declared_without_a_bias_only_when_asked() -> None:
    llama = published("LlamaForCausalLM", hidden_size=64, intermediate_size=96, num_hidden_layers=1, vocab_size=128)
    scales = count("ssf", {}, llama)
    assert count("ssf", {"shift": "always"}, llama) == 2 * scales

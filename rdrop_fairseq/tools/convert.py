"""Turn a Hugging Face RoBERTa or BERT checkpoint into a fairseq one, and prove that it is the same.

    rdrop convert HF_FOLDER OUT

Reads config.json, the weights (model.safetensors) and the tokenizer of HF_FOLDER; writes
OUT/model.pt, OUT/dict.txt and, for BERT, OUT/tokenizer.json (RoBERTa's is GPT-2's BPE). Both
models then read the same sentences, alone and in pairs: unless the final hidden states agree
to 1e-4, there is an error and no OUT.
"""

import warnings
from collections.abc import Sequence

from ..errors import UsageError
from .average import save
from .command_line import command, existing_file, existing_folder, new_folder, parser
from .files import write_lines, writing_folder
from .text import whole_lines

SENTENCES = [
    "R-Drop sends every example through the model twice.",
    "Its two passes differ by dropout; their predictions should not.",
    "Short.",
    "How far are they apart, and does it matter (much)?",
]


@command("rdrop convert")
def main(argv: Sequence[str] | None = None) -> None:
    cli = parser(__doc__, "rdrop convert")
    add = cli.add_argument
    add(
        "hf_folder",
        type=existing_folder,
        metavar="HF_FOLDER",
        help="with config.json, model.safetensors, tokenizer",
    )
    add("out", type=new_folder, metavar="OUT", help="folder to make; it must not exist")
    add(
        "--gpt2-bpe",
        type=existing_folder,
        help="folder with GPT-2's encoder.json; needed for RoBERTa, whose fairseq dictionary "
        "consists of GPT-2's numbers (default: none; rdrop corpus gpt2_bpe --download fetches it)",
    )
    add(
        "--sentences",
        type=existing_file,
        help=f"text file, one sentence a line, to compare the models on (default: {len(SENTENCES)} "
        "short English ones)",
    )
    args = cli.parse_args(argv)
    sentences = SENTENCES
    if args.sentences:
        sentences = [line for line in whole_lines(args.sentences, "sentences") if line.strip()]
        if not sentences:
            raise UsageError(f"{args.sentences} has no sentence")

    warnings.simplefilter("ignore")  # of how fairseq uses hydra
    from . import hugging_face

    found = hugging_face.convert(args.hf_folder, args.gpt2_bpe)
    config, symbols = found.config, found.vocabulary.symbols
    difference = hugging_face.largest_difference(found, sentences)
    checkpoint = {
        "args": found.args,
        "model": found.ours.state_dict(),
        "optimizer_history": [
            {
                "criterion_name": "MaskedLmLoss",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "last_optimizer_state": None,
    }
    with writing_folder(args.out) as unfinished:
        # without <mask>, which fairseq's tasks add themselves
        write_lines(unfinished / "dict.txt", (f"{symbol} 1" for symbol in symbols[4:-1]))
        if config.model_type == "bert":
            found.tokenizer.backend_tokenizer.save(str(unfinished / "tokenizer.json"))
        save(checkpoint, unfinished / "model.pt")
    parameters = sum(p.numel() for p in found.ours.parameters())
    print(
        f"{args.out}/model.pt: {config.model_type}, {config.num_hidden_layers} layers x "
        f"{config.hidden_size}, {parameters:,} parameters, {len(symbols):,} symbols, LayerNorm "
        f"eps {config.layer_norm_eps:g} (--arch {found.args.arch})"
    )
    if not found.has_lm_head:
        print("it has no masked-LM head: fairseq's is random, which fine-tuning does not use")
    print(
        f"final hidden states of {len(sentences)} sentences and as many pairs differ by at most "
        f"{difference:.1e} from those of transformers {hugging_face.transformers.__version__}"
    )


if __name__ == "__main__":
    main()

"""Records beam searches of transformers on the reference models, for beams.test.ts:

    HF_HUB_OFFLINE=1 python test/beams/make.py

Needs torch and transformers. `early_stopping` is False, the only way that deltafit ends a search.
"""
import json
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).parent
NEW_TOKENS = 8


def search(model, prompt, beams, penalty, ngram, stops):
    model.generation_config.eos_token_id = stops or None
    config = transformers.GenerationConfig(
        max_new_tokens=NEW_TOKENS, num_beams=beams, length_penalty=penalty, no_repeat_ngram_size=ngram or 0,
        early_stopping=False, eos_token_id=stops or None, pad_token_id=0, do_sample=False,
        return_dict_in_generate=True, output_scores=True)
    with torch.no_grad():
        out = model.generate(input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                             generation_config=config)
    ids = out.sequences[0, len(prompt):].tolist()
    ends = [place for place, token in enumerate(ids) if token in stops]
    return (ids[:ends[0] + 1] if ends else ids), out.sequences_scores[0].item()


def main():
    torch.set_num_threads(1)
    cases = []
    for name in ("gpt2", "llama"):
        folder = HERE.parent / "reference" / "cases" / "models" / name
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager",
                                                                  dtype=torch.float32).eval()
        prompt = json.loads((folder / "inputs.json").read_text())["prompt"]["input_ids"][0]
        # Tokens that searches without an end choose: as ends they come in the middle of a search.
        free, _ = search(model, prompt, 4, 1.0, None, [])
        for stops in ([], [free[2]], [free[1], free[4], free[6]]):
            for beams in (4, 10):
                for penalty in (0.8, 1.0):
                    for ngram in (None, 4):
                        tokens, score = search(model, prompt, beams, penalty, ngram, stops)
                        cases.append(dict(model=name, prompt=prompt, beams=beams, lengthPenalty=penalty,
                                          noRepeatNgram=ngram, stopTokens=stops, tokens=tokens, score=score))
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "beams.fixture.json").write_text(f"[\n{lines}\n]\n")


main()

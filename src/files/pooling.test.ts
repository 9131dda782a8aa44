import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readSentencePooling } from "./pooling.ts";

const module = (kind: string, folder: string) => ({
  type: `sentence_transformers.models.${kind}`,
  path: folder,
});
const transformer = module("Transformer", "");
const pooling = module("Pooling", "1_Pooling");

function written(modules: readonly object[], configuration?: object): string {
  const folder = temporaryFolder();
  fs.writeFileSync(path.join(folder, "modules.json"), JSON.stringify(modules));
  fs.mkdirSync(path.join(folder, "1_Pooling"));
  if (configuration)
    fs.writeFileSync(path.join(folder, "1_Pooling", "config.json"), JSON.stringify(configuration));
  return folder;
}

test("older and newer files, with and without normalisation", () => {
  const mean = { word_embedding_dimension: 8, pooling_mode_cls_token: false, pooling_mode_mean_tokens: true };
  expect(readSentencePooling(written([transformer, pooling], mean))).toEqual({
    pooling: "mean",
    normalise: false,
  });
  const scaled = [transformer, pooling, module("Normalize", "2_Normalize")];
  expect(readSentencePooling(written(scaled, { pooling_mode: "cls" }))).toEqual({
    pooling: "first",
    normalise: true,
  });
  const last = { pooling_mode_lasttoken: true, pooling_mode_mean_tokens: false };
  expect(readSentencePooling(written([transformer, pooling], last))).toEqual({
    pooling: "last",
    normalise: false,
  });
  expect(readSentencePooling(temporaryFolder())).toBeUndefined();
});

test("what deltafit does not have is refused", () => {
  const folder = written([transformer, pooling], {
    pooling_mode_mean_tokens: true,
    pooling_mode_max_tokens: true,
  });
  expect(failureOf(() => readSentencePooling(folder), folder)).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Say how to pool with --pooling to leave the folder's own pooling out.",
      "message": ""FOLDER/1_Pooling/config.json": expected one pooling of mean, cls and lasttoken, found "pooling_mode_mean_tokens", "pooling_mode_max_tokens".",
    }
  `);
  const dense = written([transformer, module("Dense", "2_Dense")]);
  expect(failureOf(() => readSentencePooling(dense), dense)).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Say how to pool with --pooling to leave the folder's own modules out.",
      "message": ""FOLDER/modules.json": expected the modules Transformer, Pooling, Normalize, found "sentence_transformers.models.Dense".",
    }
  `);
  const missing = written([transformer, pooling]);
  expect(failureOf(() => readSentencePooling(missing), missing).code).toBe("file-missing");
  const outside = written([module("Pooling", "../1_Pooling")]);
  expect(failureOf(() => readSentencePooling(outside), outside).code).toBe("file-refused");
});

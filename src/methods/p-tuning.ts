/**
 * @file P-tuning (Liu et al. 2021, "GPT Understands, Too", section 3): prompt tuning whose embeddings an encoder makes,
 * P = f(E), so that virtual tokens learn together. Only P is needed afterwards, and only P is saved. The encoders are
 * those of prompt-encoder.ts; training never starts from the base.
 */
import { DeltafitError } from "../errors.ts";
import type { BoundMethod, Method, ModuleTable } from "./contract.ts";
import { normal } from "./initial.ts";
import { encodePrompt, encoderSpecs } from "./prompt-encoder.ts";
import type { PromptEncoderSettings } from "./prompt-encoder.ts";
import { savedModules } from "./saved-modules.ts";
import {
  checkVirtualTokens,
  promptEmbeddings,
  promptRows,
  tokensInFront,
  tokenTable,
} from "./virtual-tokens.ts";

export interface PTuningConfiguration {
  readonly virtualTokens: number;
  readonly encoder: "mlp" | "lstm";
  /** Width of the encoder's hidden layers; left out, that of the embeddings. */
  readonly encoderWidth?: number | undefined;
  /** Layers of an LSTM. */
  readonly encoderLayers: number;
  /** Dropout between the layers of an LSTM. */
  readonly encoderDropout: number;
  /** Without the encoder: its result is what is trained. Files keep no more than that. */
  readonly condensed: boolean;
  /** Modules that are trained whole, such as the task's head. */
  readonly modulesToSave?: readonly string[] | undefined;
}

export const pTuningDefaults = {
  virtualTokens: 20,
  encoder: "mlp",
  encoderLayers: 2,
  encoderDropout: 0,
  condensed: false,
} as const satisfies Partial<PTuningConfiguration>;

export const pTuning: Method<PTuningConfiguration> = {
  type: "P_TUNING",
  summary: "P-tuning: embeddings in front of the tokens, made by a trained encoder (Liu et al. 2021)",
  condense: (configuration) => ({ ...configuration, condensed: true }),
  bind(configuration, modules): BoundMethod {
    const { virtualTokens, condensed, modulesToSave = [] } = configuration;
    checkVirtualTokens("P-tuning", virtualTokens);
    const settings = encoderSettings(configuration, modules);
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    const shape = [settings.virtualTokens, settings.size];
    const own = condensed
      ? [{ key: promptEmbeddings, shape, initial: normal(shape, 1) }]
      : encoderSpecs(settings);
    return {
      parameters: [...own, ...saved.parameters],
      virtualTokens,
      hooks: (use) => ({
        virtualTokens() {
          const all = condensed ? use.parameter(promptEmbeddings) : encodePrompt(use, settings);
          return use.builder.slice(all, 0, 0, virtualTokens);
        },
        ...saved.hooks(use),
      }),
      merge: tokensInFront,
      condensed: condensed
        ? undefined
        : (use) =>
            new Map([
              [promptEmbeddings, encodePrompt(use, settings)],
              ...saved.parameters.map(({ key }) => [key, use.parameter(key)] as const),
            ]),
    };
  },
};

/** @throws DeltafitError `config-invalid`, `method-unsupported`. */
export function encoderSettings(
  configuration: PTuningConfiguration,
  modules: ModuleTable,
): PromptEncoderSettings {
  const { size } = tokenTable("P-tuning", modules);
  const { virtualTokens, encoder, encoderWidth: width = size } = configuration;
  const { encoderLayers: layers, encoderDropout: dropout } = configuration;
  for (const [what, value] of [["width", width] as const, ["number of layers", layers] as const])
    if (!Number.isInteger(value) || value <= 0)
      throw new DeltafitError(
        "config-invalid",
        `P-tuning: the encoder's ${what} is ${value}; expected a whole number above 0.`,
      );
  if (!(dropout >= 0 && dropout < 1))
    throw new DeltafitError(
      "config-invalid",
      `P-tuning: the encoder's dropout is ${dropout}; expected a share from 0 to below 1.`,
    );
  return { virtualTokens: promptRows(virtualTokens, modules), size, encoder, width, layers, dropout };
}

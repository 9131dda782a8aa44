/**
 * @file The lint rules: typescript-eslint at its strictest with types, plus the limits on size that keep a
 * file readable and a function on one screen. Comments in the code cannot switch a rule off; what a kind of
 * file is allowed stands here, with its reason.
 */
import eslint from "@eslint/js";
import tseslint from "typescript-eslint";

/** Files that are data in TypeScript's form: one long literal, which no split would make clearer. */
const tables = ["scripts/base-model/words-*.ts"];

const tests = ["**/*.test.ts", "test/**/*.ts"];

export default tseslint.config(
  {
    ignores: ["dist/", "node_modules/", "base/", "runs/", "demo-output/", ".docs-check/", "**/fixtures/"],
  },
  {
    linterOptions: { noInlineConfig: true, reportUnusedDisableDirectives: "error" },
  },
  eslint.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // `== null` is the one comparison that means "absent, whichever way".
      eqeqeq: ["error", "always", { null: "ignore" }],
      // Text from files is checked for control characters on purpose.
      "no-control-regex": "off",
      "max-lines": ["error", { max: 400 }],
      "no-restricted-syntax": [
        "error",
        {
          selector: "TSAsExpression > TSAsExpression.expression > TSUnknownKeyword.typeAnnotation",
          message: "`as unknown as` silences the type checker; narrow or validate the value instead.",
        },
      ],
      "@typescript-eslint/consistent-type-imports": [
        "error",
        { prefer: "type-imports", fixStyle: "separate-type-imports" },
      ],
      "@typescript-eslint/consistent-type-exports": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-import-type-side-effects": "error",
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: true },
      ],
      // The compiler's noPropertyAccessFromIndexSignature asks for brackets where this rule would forbid them.
      "@typescript-eslint/dot-notation": ["error", { allowIndexSignaturePropertyAccess: true }],
      // `values[i] as number` states what an index within bounds holds; `!` would state it of anything.
      "@typescript-eslint/non-nullable-type-assertion-style": "off",
      // Operations without attributes and methods without settings have exactly the empty type.
      "@typescript-eslint/no-generated-empty-object-type": "off",
      // An empty environment variable or file name counts as absent, which `??` would let through.
      "@typescript-eslint/prefer-nullish-coalescing": ["error", { ignorePrimitives: { string: true } }],
      // `[...text]` is how text is cut by code points, the unit that tokenizers and limits count in.
      "@typescript-eslint/no-misused-spread": ["error", { allow: ["string"] }],
      // A number or a boolean in a message reads as written; objects do not.
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      // `() => doIt()` is this project's form for a callback whose result nobody reads.
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
    },
  },
  {
    files: ["src/**/*.ts"],
    ignores: tests,
    rules: {
      "max-lines-per-function": ["error", { max: 80, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: tests,
    rules: {
      // Tests hand wrong values to functions on purpose and state what is known about a result.
      "@typescript-eslint/no-non-null-assertion": "off",
      // vitest's matchers take methods apart from their objects.
      "@typescript-eslint/unbound-method": "off",
    },
  },
  {
    files: tables,
    rules: { "max-lines": "off" },
  },
  {
    files: ["**/*.js", "**/*.mjs", "**/*.cjs"],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: {
      globals: { process: "readonly", console: "readonly", module: "writable", require: "readonly" },
    },
  },
);

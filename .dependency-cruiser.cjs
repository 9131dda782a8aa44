/**
 * @file Which room may import which: the architecture as rules that a machine checks. Every rule says in its
 * `comment` why it stands; ARCHITECTURE.md tells the same story in words.
 */

/** Each room may import those before it, and nothing after it. A new room is added here first. */
const rooms = [
  "errors.ts",
  "tensor/",
  "files/",
  "graph/",
  "onnx/",
  "runtime/",
  "models/",
  "methods/",
  "tasks/",
  "base/",
  "adapters/",
  "conversion/",
  "memory/",
  "data/",
  "training/",
  "generation/",
  "evaluation/",
  "fine-tuning/",
  "experiments/",
  "cli/",
  "index.ts",
];

/** Rooms that compute and never touch the outside world. */
const pureRooms = ["graph", "models", "methods", "memory"];

/** Files and folders directly under models/ that are no architecture, and so may be shared by all of them. */
const sharedModelFiles = ["index", "registry", "forward", "configuration", "layers", "shared[^/]*"];

/** Files and folders directly under methods/ that are no method. */
const sharedMethodFiles = [
  "index",
  "registry",
  "contract",
  "shared[^/]*",
  "forward-pass",
  "layout",
  "saved-modules",
  "survey",
  "slices",
  "targets",
  "adapter-weight",
  // Parts that several methods are made of.
  "constants",
  "initial",
  "highest-rank",
  "linear-sites",
  "lora-site",
  "lycoris",
  "dora",
  "prompt-encoder",
  "rank-allocation",
  "rotation",
  "stack-hooks",
  "token-rows",
  "update-rules",
  "virtual-tokens",
];

const anyOf = (names) => `(?:${names.map((name) => name.replace(".", "\\.")).join("|")})`;
const testFile = "\\.test\\.ts$";

const roomOrder = rooms.slice(0, -1).map((room, index) => ({
  name: `order-${room.replace(/\W.*$/, "")}`,
  severity: "error",
  comment:
    `src/${room} may import only the rooms before it in the list of .dependency-cruiser.cjs. One direction ` +
    "keeps every room understandable, testable and replaceable without those that are built on it.",
  from: { path: `^src/${room.replace(".", "\\.")}` },
  to: { path: `^src/${anyOf(rooms.slice(index + 1))}` },
}));

const peers = (room, singular, shared) => ({
  name: `no-peer-${room}`,
  severity: "error",
  comment:
    `One ${singular} does not import another: each can be read, changed and removed alone. What two of them ` +
    `share goes into src/${room}/shared*.ts or a folder of shared parts, and only the registry knows them all.`,
  from: {
    path: `^src/${room}/([^/.]+)(?:/|\\.)`,
    pathNot: [`^src/${room}/${anyOf(shared)}(?:/|\\.)`, testFile],
  },
  to: {
    path: `^src/${room}/[^/]+`,
    pathNot: [`^src/${room}/$1(?:/|\\.)`, `^src/${room}/${anyOf(shared)}(?:/|\\.)`],
  },
});

module.exports = {
  forbidden: [
    {
      name: "no-circular",
      severity: "error",
      comment:
        "Files in a cycle can only be understood, tested and moved together: they are one file in disguise, and " +
        "which of them runs first is an accident. A cycle closed by a type-only import exists for the compiler alone " +
        "(an operation's rules are handed a builder, the builder knows the operations) and is allowed.",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "room-known",
      severity: "error",
      comment:
        "A room outside the list has no place in the order. Decide its place in .dependency-cruiser.cjs first.",
      from: { path: "^src/" },
      to: { path: "^src/", pathNot: `^src/${anyOf(rooms)}` },
    },
    ...roomOrder,
    {
      name: "runtime-owns-onnxruntime",
      severity: "error",
      comment:
        "Only src/runtime/ knows which runtime executes a graph; another one, or another provider, is then a " +
        "change in one room.",
      from: { path: "^src/", pathNot: "^src/runtime/" },
      to: { path: "(?:^|/)onnxruntime-" },
    },
    {
      name: "pure-no-builtins",
      severity: "error",
      comment:
        "graph, models, methods and memory are pure and synchronous: memory is estimated from the very graph that " +
        "will run before a byte is read, and the same code works in a browser. Tests may read their fixtures.",
      from: { path: `^src/${anyOf(pureRooms)}/`, pathNot: testFile },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "pure-no-outside",
      severity: "error",
      comment: "The pure rooms get weights as shapes and values, never as files, ONNX bytes or sessions.",
      from: { path: `^src/${anyOf(pureRooms)}/`, pathNot: testFile },
      to: { path: "^src/(?:files|onnx|runtime)/" },
    },
    peers("models", "architecture", sharedModelFiles),
    peers("methods", "method", sharedMethodFiles),
    {
      name: "layers-know-no-architecture",
      severity: "error",
      comment: "The shared layers serve every architecture, so they know none of them.",
      from: { path: "^src/models/layers/", pathNot: testFile },
      to: { path: "^src/models/[^/]+\\.ts$", pathNot: `^src/models/${anyOf(sharedModelFiles)}\\.ts$` },
    },
    {
      name: "no-test-imports",
      severity: "error",
      comment: "What a test defines is not part of the product; importing a test file would also run it.",
      from: { path: "^src/", pathNot: testFile },
      to: { path: `${testFile}|^(?:test|scripts|bench|examples)/` },
    },
    {
      name: "no-development-dependency",
      severity: "error",
      comment: "Who installs deltafit does not get its development dependencies.",
      from: { path: "^src/", pathNot: testFile },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["npm", "type-only"] },
    },
    {
      name: "no-undeclared-dependency",
      severity: "error",
      comment:
        "A package that package.json does not name is there by accident and may be gone after an update.",
      from: {},
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "no-unresolvable",
      severity: "error",
      comment: "An import that leads nowhere fails when it is first reached.",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "(?:^|/)(?:fixtures|cases)/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".js", ".mjs", ".json"],
    },
  },
};

/**
 * @file Entities in sequences of tags, and precision, recall and F1 of whole entities, as conlleval (Tjong Kim Sang and
 * De Meulder 2003) and seqeval's default mode count them: an entity is right if its type and both ends are.
 */

/** An entity: its type and the first and last tag it covers. */
export interface Entity {
  readonly type: string;
  readonly first: number;
  readonly last: number;
}

interface Tag {
  readonly prefix: string;
  readonly type: string;
}

const outside: Tag = { prefix: "O", type: "" };

/** Whether tags mark entities: O, or B-, I-, E- or S- before a type. */
export function areEntityTags(names: readonly string[]): boolean {
  return names.some((name) => name !== "O") && names.every((name) => /^(?:O|[BIES]-.+)$/su.test(name));
}

function readTag(name: string): Tag {
  return name === "O" ? outside : { prefix: name.slice(0, 1), type: name.slice(2) };
}

const endsItself = (prefix: string) => prefix === "E" || prefix === "S";

/** Whether the entity of the tag before goes on in a tag. */
function goesOn(before: Tag, tag: Tag): boolean {
  if (before.prefix === "O" || tag.prefix === "O") return false;
  return !endsItself(before.prefix) && (tag.prefix === "I" || tag.prefix === "E") && before.type === tag.type;
}

/** The entities of one sequence. An I without a beginning of its type begins an entity, as conlleval has it. */
export function entitiesOf(names: readonly string[]): Entity[] {
  const entities: Entity[] = [];
  let before = outside;
  for (const [index, name] of names.entries()) {
    const tag = readTag(name);
    const last = entities.at(-1);
    if (last && goesOn(before, tag)) entities[entities.length - 1] = { ...last, last: index };
    else if (tag.prefix !== "O") entities.push({ type: tag.type, first: index, last: index });
    before = tag;
  }
  return entities;
}

/** Precision, recall and F1 over the entities of all sequences together; 0 where nothing is found or there. */
export function entityScores(
  predicted: readonly (readonly string[])[],
  actual: readonly (readonly string[])[],
): { readonly precision: number; readonly recall: number; readonly f1: number } {
  let [found, there, right] = [0, 0, 0];
  const keyOf = ({ type, first, last }: Entity) => `${first} ${last} ${type}`;
  for (const [index, names] of actual.entries()) {
    const own = entitiesOf(predicted[index] ?? []);
    const expected = new Set(entitiesOf(names).map(keyOf));
    found += own.length;
    there += expected.size;
    right += own.filter((entity) => expected.has(keyOf(entity))).length;
  }
  const share = (count: number, of: number) => (of === 0 ? 0 : count / of);
  return {
    precision: share(right, found),
    recall: share(right, there),
    f1: share(2 * right, found + there),
  };
}

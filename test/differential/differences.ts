/** The first difference between two JSON values, and a text that shows it. */
import assert from 'node:assert/strict';

export interface Difference {
  /** Of the value that differs, such as `rejected.own.message`. */
  path: string;
  /** As JSON; undefined when there is nothing at the path. */
  without: string | undefined;
  with: string | undefined;
}

/** Undefined for equal values. The order of keys counts, since an app can see it. */
export function firstDifference(without: unknown, withIt: unknown, path = ''): Difference | undefined {
  const json = { path, without: JSON.stringify(without), with: JSON.stringify(withIt) };
  if (json.without === json.with) return undefined;
  if (!isObject(without) || !isObject(withIt) || Array.isArray(without) !== Array.isArray(withIt))
    return json;
  for (const key of new Set([...Object.keys(without), ...Object.keys(withIt)])) {
    const inside = firstDifference(without[key], withIt[key], path === '' ? key : `${path}.${key}`);
    if (inside !== undefined) return inside;
  }
  return {
    path: `keys of ${path || 'the whole'}`,
    without: Object.keys(without).join(),
    with: Object.keys(withIt).join(),
  };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

/** Fails with the differences by name. */
export function assertAlike(without: Record<string, unknown>, withIt: Record<string, unknown>): void {
  const differences = describeDifferences(without, withIt);
  if (differences !== '') assert.fail(`The app sees that it is traced.\n${differences}`);
}

const SHOWN = 12;
const SHOWN_CHARACTERS = 300;

/**
 * The differences of two tables, name by name, as a text; '' when there are none. The same difference under
 * several names is shown once.
 */
function describeDifferences(without: Record<string, unknown>, withIt: Record<string, unknown>): string {
  const alike = new Map<string, { names: string[]; difference: Difference }>();
  for (const name of new Set([...Object.keys(without), ...Object.keys(withIt)])) {
    const difference = firstDifference(without[name], withIt[name]);
    if (difference === undefined) continue;
    const key = JSON.stringify(difference);
    const known = alike.get(key);
    if (known === undefined) alike.set(key, { names: [name], difference });
    else known.names.push(name);
  }
  const groups = [...alike.values()].sort((a, b) => b.names.length - a.names.length);
  const texts = groups
    .slice(0, SHOWN)
    .map(({ names, difference }) =>
      [
        `${names[0]}${names.length === 1 ? '' : ` (and ${names.length - 1} like it: ${names.slice(1, 4).join('; ')}${names.length > 4 ? '; …' : ''})`}`,
        `  at ${difference.path || 'the whole'}`,
        `    without the preload: ${shortened(difference.without)}`,
        `    with it:             ${shortened(difference.with)}`,
      ].join('\n'),
    );
  if (groups.length > SHOWN) texts.push(`… and ${groups.length - SHOWN} more`);
  return texts.join('\n');
}

function shortened(json: string | undefined): string {
  if (json === undefined) return 'nothing';
  return json.length <= SHOWN_CHARACTERS ? json : `${json.slice(0, SHOWN_CHARACTERS)}…`;
}

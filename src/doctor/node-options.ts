/** Options of Node that load a preload, in NODE_OPTIONS and in a command. Pure. */
import { splitNodeOptions } from '../config/node-options.ts';

export interface Preload {
  /** As Node orders them: what is required comes before what is imported. */
  flag: '--require' | '--import';
  specifier: string;
}

const FLAGS: Record<string, Preload['flag']> = {
  '-r': '--require',
  '--require': '--require',
  '--import': '--import',
};

/** The preloads among Node's options; `missing` is a flag that nothing follows. */
export function preloadsIn(words: readonly string[]): { preloads: Preload[]; missing: string | undefined } {
  const preloads: Preload[] = [];
  let missing: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const [, name = '', attached] = /^(-r|--require|--import)(?:=(.*))?$/s.exec(words[at] as string) ?? [];
    const flag = FLAGS[name];
    if (flag === undefined) continue;
    const specifier = attached ?? words[++at];
    if (specifier === undefined || specifier === '') missing = name;
    else preloads.push({ flag, specifier });
  }
  return { preloads, missing };
}

/** In the order in which Node loads them. */
export const inOrder = (preloads: readonly Preload[]): Preload[] => [
  ...preloads.filter(({ flag }) => flag === '--require'),
  ...preloads.filter(({ flag }) => flag === '--import'),
];

export const isOurs = (specifier: string): boolean =>
  specifier === 'milvus-otel/register' || /[\\/]dist[\\/]register\.cjs$/.test(specifier);

/** What is wrong with a value of NODE_OPTIONS, by its text alone; undefined when nothing is. */
export function quotingProblem(text: string): string | undefined {
  const curly = /[\u2018\u2019\u201c\u201d\u00a0]/.exec(text)?.[0];
  if (curly !== undefined)
    return `it has ${curly === '\u00a0' ? 'a no-break space' : `the typographic quote ${curly}`}, which Node takes as a part of the value`;
  const { words, unterminated } = splitNodeOptions(text);
  if (unterminated) return 'a double quote is opened and not closed';
  const whole = words.find((word) => /^['"]?(-r|--require|--import)\s/.test(word));
  if (whole !== undefined) return `the quotes are part of the value, so Node takes "${whole}" for one option`;
  const single = words.find((word) => /^'|'$/.test(word));
  if (single !== undefined) return `single quotes are part of the value, so Node reads ${single} with them`;
  const { missing } = preloadsIn(words);
  if (missing !== undefined)
    return `nothing follows ${missing}: without quotes the shell ends the value at the first blank`;
  return undefined;
}

export interface Command {
  /** Assignments before the program, as `A=b node` and `env A=b node` have them. */
  env: Record<string, string>;
  /** What is left without them: the program and its arguments. */
  words: string[];
  /** Node's own options, when the program is node. */
  nodeWords: string[];
  /** The app's main file; undefined when it is unknown. */
  entry: string | undefined;
  isNode: boolean;
}

/** Options of Node that take a separate word. */
const WITH_VALUE = new Set([
  '-r',
  '--require',
  '--import',
  '--loader',
  '--experimental-loader',
  '-C',
  '--conditions',
  '--env-file',
  '--env-file-if-exists',
  '--title',
  '--max-old-space-size',
]);

export function readCommand(given: readonly string[]): Command {
  const env: Record<string, string> = {};
  let at = /(^|[\\/])(env|cross-env)$/.test(given[0] ?? '') ? 1 : 0;
  for (; at < given.length; at++) {
    const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(given[at] as string) ?? [];
    if (name === undefined || value === undefined) break;
    env[name] = value;
  }
  const words = given.slice(at);
  // Options of env's own, or nothing at all: not for us to take apart.
  if (words.length === 0 || words[0]?.startsWith('-'))
    return { env: {}, words: [...given], nodeWords: [], entry: undefined, isNode: false };
  const isNode = /(^|[\\/])node(\.exe)?$/i.test(words[0] ?? '');
  if (!isNode) return { env, words, nodeWords: [], entry: undefined, isNode };
  const nodeWords: string[] = [];
  let next = 1;
  for (; next < words.length; next++) {
    const word = words[next] as string;
    if (!word.startsWith('-')) break;
    nodeWords.push(word);
    if (WITH_VALUE.has(word) && next + 1 < words.length) nodeWords.push(words[++next] as string);
  }
  const runsFile = !nodeWords.some((word) => /^(-e|--eval|-p|--print)/.test(word));
  return { env, words, nodeWords, entry: runsFile ? words[next] : undefined, isNode };
}

/** Values of NODE_OPTIONS in a shell's command line, as the shell would hand them on. */
export function shellNodeOptions(script: string): string[] {
  return [...script.matchAll(/(?:^|[\s;&])NODE_OPTIONS=("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"']*)/g)].map(
    ([, raw = '']) =>
      raw.startsWith('"')
        ? raw.slice(1, -1).replace(/\\(["\\$`])/g, '$1')
        : raw.startsWith("'")
          ? raw.slice(1, -1)
          : raw,
  );
}

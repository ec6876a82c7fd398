/**
 * Generates env.example, the ConfigMap of the Kubernetes sample, Grafana's dashboard, and the parts of
 * documents listed in PARTS, from the tables in src/ and tools/, and the last benchmark.
 */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Results } from '../../bench/results.ts';
import type { Spread } from '../../bench/statistics.ts';
import { SETTINGS, shownFallback } from '../../src/config/settings.ts';
import { ATTR } from '../../src/milvus/attributes.ts';
import { OPERATIONS } from '../../src/milvus/operations.ts';
import { dashboard } from '../dashboard/dashboard.ts';
import {
  ATTRIBUTE_DOCUMENTATION,
  ATTRIBUTES_NOT_SET,
  type AttributeDocumentation,
  HTTP_METHODS,
  type MetricDocumentation,
  OPERATION_METRICS,
  POOL_METRICS,
  QUEUE_METRICS,
  RPC_ATTRIBUTE_DOCUMENTATION,
} from './attributes.ts';
import specification from './specification-variables.json' with { type: 'json' };
import { TRIED_APPS, type TriedApp } from './tried-apps.ts';
import { UNSUPPORTED_VALUES, UNSUPPORTED_VARIABLES } from './unsupported-variables.ts';
import { type Group, VARIABLE_DOCUMENTATION } from './variables.ts';

type Key = keyof typeof SETTINGS;

interface Definition {
  env: string;
  doc: string;
  expected: string;
  group: Group;
  fallback: unknown;
  shownFallback?: string;
  ownDefault?: boolean;
}

const CONFIG_MAP = 'samples/kubernetes/configmap.yaml';
const DASHBOARD = 'compose/production/grafana/dashboards/milvus.json';

const TYPES = path.join(import.meta.dirname, '..', '..', 'src', 'milvus', 'instrumentation.types.d.cts');

/** Results of the last full run of `npm run bench -- --write`. */
const RESULTS = path.join(import.meta.dirname, '..', '..', 'bench', 'results.json');

const DOCUMENTED = Object.fromEntries(
  Object.entries(SETTINGS).map(([key, row]) => [key, { ...row, ...VARIABLE_DOCUMENTATION[key as Key] }]),
) as unknown as Record<Key, Definition>;

const rows: readonly Definition[] = Object.values(DOCUMENTED);

/** Groups in the order of their first rows. */
const groups: readonly Group[] = [...new Set(rows.map(({ group }) => group))];

/** Variables that most apps set, first in env.example. */
const MOST_NEEDED: readonly Key[] = ['serviceName', 'endpoint', 'resourceAttributes'];

/** Rows of the README's table, in its order. */
const IN_README: readonly Key[] = [
  'serviceName',
  'resourceAttributes',
  'endpoint',
  'protocol',
  'headers',
  'sampler',
  'samplerRatio',
  'metricsExporter',
  'captureFilter',
  'sdkDisabled',
];

/**
 * Works with `node --env-file` and `docker run --env-file`: no quotes, no comment after a value. Sets no
 * variable.
 */
export function envExample(): string {
  const first = MOST_NEEDED.map((key) => DOCUMENTED[key]);
  const variable = (row: Definition) => `${comment(row)}\n#${row.env}=${assignable(row)}`;
  const others = groups.map((group) => {
    const inGroup = rows.filter((row) => row.group === group && !first.includes(row));
    return [`# --- ${group} ---`, ...inGroup.map(variable)].join('\n\n');
  });
  return `${[
    '# Every variable of milvus-otel with its default. Remove the # to set one.\n' +
      '# For node --env-file=… and docker run --env-file …',
    '# --- What most apps set ---',
    ...first.map(variable),
    ...others,
  ].join('\n\n')}\n`;
}

/** Set in the ConfigMap of the Kubernetes sample; the other variables are commented out there. */
const IN_CONFIG_MAP: Readonly<Record<string, string>> = {
  [SETTINGS.endpoint.env]: 'http://collector.observability.svc:4317',
};

/** env.example as a ConfigMap: the same variables in the same order, with the same comments. */
export function configMap(): string {
  const data = envExample()
    .split('\n')
    .slice(2)
    .map((line) => {
      const [, name = '', value = ''] = /^#?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
      if (name === '') return line;
      const set = IN_CONFIG_MAP[name];
      // A ConfigMap takes only strings, and JSON's strings are valid YAML.
      return `${set === undefined ? '#' : ''}${name}: ${JSON.stringify(set ?? value)}`;
    })
    .map((line) => (line === '' ? '' : `  ${line}`));
  return `# Every variable of env.example; \`npm run docs\` writes this file. Lines that begin with # show defaults.
# OTEL_SERVICE_NAME differs from app to app and is in app.yaml. Tokens belong in a Secret.
apiVersion: v1
kind: ConfigMap
metadata:
  name: milvus-otel
data:${data.join('\n').replace(/^\n*/, '\n').trimEnd()}
`;
}

/** The default, or nothing, which means unset. */
const assignable = (row: Definition): string => (row.fallback === undefined ? '' : shownFallback(row));

function comment(row: Definition): string {
  const unset = assignable(row) === '' && shownFallback(row) !== '' ? `; unset: ${shownFallback(row)}` : '';
  return `# ${row.doc} Takes ${row.expected}${unset}.`;
}

function markdownTable(heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...lines.map(line)].join('\n');
}

const code = (text: string): string => `\`${text}\``;

/** The default as a table shows it: values as code, prose as prose. */
function shownDefault(row: Definition): string {
  const shown = shownFallback(row);
  const value = row.fallback !== undefined || !/[ ,]/.test(shown) ? shown && code(shown) : shown;
  return row.ownDefault === true ? `${value} *` : value;
}

function settingsTable(definitions: readonly Definition[]): string {
  return markdownTable(
    ['Variable', 'What it does', 'Takes', 'Default'],
    definitions.map((row) => [code(row.env), row.doc, row.expected, shownDefault(row)]),
  );
}

const OWN_DEFAULT =
  "\\* While the variable is unset, milvus-otel's default applies, which differs from OpenTelemetry's.";

function allSettings(): string {
  const sections = groups.map(
    (group) => `## ${group}\n\n${settingsTable(rows.filter((row) => row.group === group))}`,
  );
  return [...sections, OWN_DEFAULT].join('\n\n');
}

/** Unsupported parts of the specification, and its version. */
function unsupportedVariables(): string {
  const values = Object.entries(UNSUPPORTED_VALUES).flatMap(([name, ofName]) =>
    Object.entries(ofName).map(([value, reason]) => [code(`${name}=${value}`), reason]),
  );
  const variables = Object.entries(UNSUPPORTED_VARIABLES).map(([name, reason]) => [code(name), reason]);
  return `Compared with version ${specification.specification} of OpenTelemetry's specification.\n\n${markdownTable(['Variable or value', 'Why not'], [...variables, ...values])}`;
}

function readmeSettings(): string {
  return `${settingsTable(IN_README.map((key) => DOCUMENTED[key]))}\n\n${OWN_DEFAULT}`;
}

/** Rows with a target, from the last full run, as medians; docs/benchmarks.md has the ranges. */
function cost(): string {
  const { rows: measured, conditions }: Results = JSON.parse(readFileSync(RESULTS, 'utf8'));
  const lines = measured
    .filter(({ target }) => target !== undefined)
    .map(({ what, unit, ours, stock, ratio }) => {
      const amount = ({ median }: Spread) => `${Number(median.toPrecision(2))} ${unit}`;
      return [what, amount(ours), amount(stock), ratio?.median.toFixed(2) ?? ''];
    });
  const table = markdownTable(['', 'milvus-otel', 'auto-instrumentations-node', 'ratio'], lines);
  return [table, '', ...conditions.slice(0, 2).map((line) => `- ${line}`)].join('\n');
}

function attributesTable(documentation: readonly (readonly [string, AttributeDocumentation])[]): string {
  const lines = documentation.map(([name, { type, example, when, level, atCreation }]) => {
    const examples = [example].flat().map((value) => code(String(value)));
    const levelled = atCreation === true ? `${level}, at creation` : level;
    return [code(name), type, examples.join(', '), when, levelled];
  });
  return markdownTable(['Attribute', 'Type', 'Example', 'What it is', 'Level'], lines);
}

function attributes(): string {
  const keys = Object.keys(ATTR) as (keyof typeof ATTR)[];
  return attributesTable(keys.map((key) => [ATTR[key], ATTRIBUTE_DOCUMENTATION[key]]));
}

/** The published declarations of `milvus-otel/instrumentation`. */
const types = (): string => ['```ts', readFileSync(TYPES, 'utf8').trimEnd(), '```'].join('\n');

const rpcAttributes = (): string => attributesTable(Object.entries(RPC_ATTRIBUTE_DOCUMENTATION));

const metrics = (rows: readonly MetricDocumentation[]): string =>
  markdownTable(
    ['Metric', 'Instrument', 'Unit', 'What it records', 'Attributes'],
    rows.map(({ name, instrument, unit, when, boundaries = [], attributes }) => [
      code(name),
      instrument,
      code(unit),
      boundaries.length === 0 ? when : `${when} Buckets: ${boundaries.join(', ')}.`,
      attributes.map(code).join(', '),
    ]),
  );

const attributesNotSet = (): string =>
  markdownTable(
    ['Attribute', 'Why it is not set'],
    Object.entries(ATTRIBUTES_NOT_SET).map(([name, reason]) => [code(name), reason]),
  );

const listed = (names: readonly string[]): string => `${names.map(code).join(', ')}.`;

function operations(): string {
  const names = [...new Set(Object.entries(OPERATIONS).map(([method, { name }]) => name ?? method))];
  return listed(names.flatMap((name) => (name === 'search' ? ['search', 'hybridSearch'] : [name])));
}

function triedApps(): string {
  const lines = TRIED_APPS.map(({ app, packages, started, seen, notes = '', test }: TriedApp) => [
    app,
    Object.entries(packages)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    started,
    [...seen, 'standalone'].map(code).join(' → '),
    notes,
    code(test.replace(/\.test\.ts$/, '')),
  ]);
  return markdownTable(['App', 'Versions', 'Started by', 'Trace of a search', 'Notes', 'Test'], lines);
}

/** File → its generated parts, by the name in their markers. */
const PARTS: Readonly<Record<string, Readonly<Record<string, () => string>>>> = {
  'README.md': { settings: readmeSettings, cost },
  'docs/settings.md': { settings: allSettings, unsupported: unsupportedVariables },
  'docs/api.md': { types },
  'docs/frameworks.md': { 'tried-apps': triedApps },
  'docs/semantic-conventions.md': {
    attributes,
    operations,
    'rest-operations': () => listed(HTTP_METHODS),
    'rpc-attributes': rpcAttributes,
    'operation-metrics': () => metrics(OPERATION_METRICS),
    'pool-metrics': () => metrics(POOL_METRICS),
    'queue-metrics': () => metrics(QUEUE_METRICS),
    'attributes-not-set': attributesNotSet,
  },
};

/** The text with `content` between the two markers of `name`. Fails unless each is there once, in order. */
export function fillPart(text: string, name: string, content: string): string {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const [before, rest, ...more] = text.split(start);
  const [, after, ...others] = rest?.split(end) ?? [];
  if (before === undefined || after === undefined || more.length > 0 || others.length > 0) {
    throw new Error(`it needs the lines ${start} and ${end}, once each, for what is generated between them`);
  }
  return `${before}${start}\n${content}\n${end}${after}`;
}

interface Generated {
  /** From the root of the repository. */
  file: string;
  /** Content on disk; undefined when the file is missing. */
  found: string | undefined;
  expected: string;
}

async function generate(root: string): Promise<Generated[]> {
  const onDisk = (file: string) => readFile(path.join(root, file), 'utf8').catch(() => undefined);
  const files: Generated[] = [
    { file: 'env.example', found: await onDisk('env.example'), expected: envExample() },
    { file: CONFIG_MAP, found: await onDisk(CONFIG_MAP), expected: configMap() },
    {
      file: DASHBOARD,
      found: await onDisk(DASHBOARD),
      expected: `${JSON.stringify(dashboard(), null, 2)}\n`,
    },
  ];
  for (const [file, parts] of Object.entries(PARTS)) {
    const found = await onDisk(file);
    if (found === undefined) throw new Error(`${file} is missing`);
    let expected = found;
    for (const [name, content] of Object.entries(parts)) {
      try {
        expected = fillPart(expected, name, content());
      } catch (error) {
        throw new Error(`${file}: ${(error as Error).message}`);
      }
    }
    files.push({ file, found, expected });
  }
  return files;
}

/** Writes changed files. Resolves to their paths. */
export async function writeDocs(root: string): Promise<string[]> {
  const differing = (await generate(root)).filter(({ found, expected }) => found !== expected);
  for (const { file, expected } of differing) await writeFile(path.join(root, file), expected);
  return differing.map(({ file }) => file);
}

/** Resolves to one text per outdated file: its first differing line, as it is and as it should be. */
export async function checkDocs(root: string): Promise<string[]> {
  return (await generate(root))
    .filter(({ found, expected }) => found !== expected)
    .map(({ file, found, expected }) => {
      if (found === undefined) return `${file} is missing`;
      const [is, be] = [found.split('\n'), expected.split('\n')];
      const at = be.findIndex((line, index) => line !== is[index]);
      const line = at === -1 ? be.length : at;
      const show = (text: string | undefined) => (text === undefined ? '(the end of the file)' : text);
      return `${file}:${line + 1} differs\n  on disk:   ${show(is[line])}\n  generated: ${show(be[line])}`;
    });
}

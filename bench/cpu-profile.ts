import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

/** Start of a function, as in both of V8's profiles. Lines and columns count from 0. */
export interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
  columnNumber: number;
}

/** Part of a CPU profile as V8 writes it. */
export interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame; children?: number[] }[];
  /** The node of each sample. */
  samples: number[];
  /** µs since the previous sample. */
  timeDeltas: number[];
}

/** Part of a sampling heap profile as V8 writes it. */
export interface AllocationProfile {
  head: AllocationNode;
}

interface AllocationNode {
  callFrame: CallFrame;
  /** Bytes allocated by this function itself. */
  selfSize: number;
  children: AllocationNode[];
}

/** Where a function's source is. */
export interface Origin {
  /** A package's name, `milvus-otel`, `app`, `node` or one of V8's own such as `(garbage collector)`. */
  group: string;
  /** File within the group, or '' where there is none. */
  file: string;
  functionName: string;
}

const NATIVE = 'native';
const WAITING = '(idle)';
const LOADING = 'node, loading of modules';
/** Code that starts and stops the profile: its time is not the app's. */
const PROFILER = /\/profile\.mjs$/;

/** Returns a function that finds origins; source maps of the bundle are read at first use. */
export function originFinder(): (frame: CallFrame) => Origin {
  const maps = new Map<string, SourceMap | undefined>();
  const mapOf = (url: string): SourceMap | undefined => {
    if (!maps.has(url)) {
      let map: SourceMap | undefined;
      try {
        const file = url.startsWith('file:') ? fileURLToPath(url) : url;
        map = new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')));
      } catch {
        // Not a file of the bundle.
      }
      maps.set(url, map);
    }
    return maps.get(url);
  };
  return ({ functionName, url, lineNumber, columnNumber }) => {
    const shown = functionName || '(anonymous)';
    if (url === '') {
      const own = /^\((root|program|idle|garbage collector)\)$/.test(functionName);
      return { group: own ? functionName : NATIVE, file: '', functionName: shown };
    }
    if (url.startsWith('node:')) return { group: 'node', file: url.slice(5), functionName: shown };
    const entry = url.includes('/milvus-otel/') ? mapOf(url)?.findEntry(lineNumber, columnNumber) : undefined;
    // The bundler's own code has no source.
    const source = (entry as { originalSource?: string } | undefined)?.originalSource ?? url;
    return { ...placeOf(source), functionName: shown };
  };
}

/** The package, and the file in it, of a path, a URL or a source of a source map. */
function placeOf(source: string): { group: string; file: string } {
  const inPackage = /^.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(.*)$/.exec(source);
  if (inPackage) return { group: inPackage[1] as string, file: inPackage[2] as string };
  const own = /(?:^|\/)((?:src\/.*|register)\.ts)$/.exec(source);
  if (own) return { group: 'milvus-otel', file: own[1] as string };
  return { group: 'app', file: source.replace(/^.*\//, '') };
}

/** Amounts by name, of ms or of bytes. */
export type Amounts = Map<string, number>;

export interface Attribution {
  /** Self time or bytes of each group; V8 and Node are separate groups. */
  groups: Amounts;
  /**
   * The same by calling file: Node and V8 count for the nearest caller outside of them. Module loading has no
   * file: the stack does not show its caller.
   */
  onBehalfOf: Amounts;
  /** By function, as `group file function`. */
  functions: Amounts;
  /** Everything except idle time. */
  total: number;
  /** In or below a function of this package or its bundled packages. */
  below: number;
}

/** Samples are 0.1 ms apart; after a longer gap than this, another process had the core. */
const LONGEST_SAMPLE_MS = 0.5;

/** The time of a CPU profile by origin, in ms. */
export function attributeTime(profile: CpuProfile, originOf: (frame: CallFrame) => Origin): Attribution {
  const ms = new Map<number, number>();
  for (const [at, id] of profile.samples.entries()) {
    const sampleMs = (profile.timeDeltas[at] as number) / 1000;
    ms.set(id, (ms.get(id) ?? 0) + Math.min(Math.max(sampleMs, 0), LONGEST_SAMPLE_MS));
  }
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const called = new Set(profile.nodes.flatMap(({ children }) => children ?? []));
  return attribute(
    profile.nodes.filter(({ id }) => !called.has(id)),
    {
      self: ({ id }) => ms.get(id) ?? 0,
      children: (node) => (node.children ?? []).flatMap((id) => nodes.get(id) ?? []),
      originOf,
    },
  );
}

/** The bytes of a sampling heap profile by origin. */
export function attributeBytes(
  profile: AllocationProfile,
  originOf: (frame: CallFrame) => Origin,
): Attribution {
  return attribute([profile.head], {
    self: (node) => node.selfSize,
    children: (node) => node.children,
    originOf,
  });
}

function attribute<Node extends { callFrame: CallFrame }>(
  roots: Node[],
  read: {
    self(node: Node): number;
    children(node: Node): Node[];
    originOf(frame: CallFrame): Origin;
  },
): Attribution {
  const found: Attribution = {
    groups: new Map(),
    onBehalfOf: new Map(),
    functions: new Map(),
    total: 0,
    below: 0,
  };
  const walk = (node: Node, caller: string, isBelow: boolean) => {
    const { group, file, functionName } = read.originOf(node.callFrame);
    if (group === WAITING || PROFILER.test(node.callFrame.url)) return;
    const isSource = group !== 'node' && group !== NATIVE && !group.startsWith('(');
    // Skips this package's hook between the app's `require` and Node: it is not the caller.
    const isLoading = group === 'node' && file.startsWith('internal/modules/');
    const behalf = isSource ? `${group} ${file}` : isLoading ? LOADING : caller || group;
    const below = isBelow || node.callFrame.url.includes('/milvus-otel/dist/');
    const amount = read.self(node);
    if (amount > 0) {
      add(found.groups, group, amount);
      add(found.onBehalfOf, behalf, amount);
      add(found.functions, `${group} ${file} ${functionName}`.replace('  ', ' '), amount);
      found.total += amount;
      if (below) found.below += amount;
    }
    for (const child of read.children(node)) walk(child, isSource || isLoading ? behalf : caller, below);
  };
  for (const root of roots) walk(root, '', false);
  return found;
}

function add(amounts: Amounts, name: string, amount: number): void {
  amounts.set(name, (amounts.get(name) ?? 0) + amount);
}

/** Sums of several attributions, divided by `divisor`. */
export function combined(all: Attribution[], divisor: number): Attribution {
  const sum = (pick: (one: Attribution) => Amounts): Amounts => {
    const amounts: Amounts = new Map();
    for (const one of all) for (const [name, amount] of pick(one)) add(amounts, name, amount / divisor);
    return amounts;
  };
  const total = (pick: (one: Attribution) => number) =>
    all.reduce((amount, one) => amount + pick(one), 0) / divisor;
  return {
    groups: sum(({ groups }) => groups),
    onBehalfOf: sum(({ onBehalfOf }) => onBehalfOf),
    functions: sum(({ functions }) => functions),
    total: total((one) => one.total),
    below: total((one) => one.below),
  };
}

export interface Difference {
  name: string;
  ours: number;
  none: number;
}

/** The names with the largest differences between `ours` and `none`, largest first. */
export function differences(ours: Amounts, none: Amounts, count: number): Difference[] {
  return [...new Set([...ours.keys(), ...none.keys()])]
    .map((name) => ({ name, ours: ours.get(name) ?? 0, none: none.get(name) ?? 0 }))
    .sort((a, b) => b.ours - b.none - (a.ours - a.none))
    .slice(0, count);
}

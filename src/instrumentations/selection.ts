import { nearestName } from '../config/did-you-mean.ts';
import type { Settings } from '../config/settings.ts';
import { oneLine } from '../sdk/diagnostics.ts';
import { CATALOG, type CatalogEntry, MILVUS } from './catalog.ts';

export interface Selection {
  milvus: boolean;
  /** The instrumentations to activate once the app loads what they instrument. */
  entries: CatalogEntry[];
  /** One line each: unknown names, and a list without milvus. */
  warnings: string[];
}

/**
 * The instrumentations that are on. As upstream: a list of enabled names means only these; a disabled name is
 * always off.
 */
export function selectInstrumentations(
  settings: Pick<Settings, 'enabledInstrumentations' | 'disabledInstrumentations'>,
): Selection {
  const { enabledInstrumentations: enabled, disabledInstrumentations: disabled } = settings;
  const known = [MILVUS, ...CATALOG.map(({ name }) => name)];
  const warnings: string[] = [];
  for (const [variable, names] of [
    ['OTEL_NODE_ENABLED_INSTRUMENTATIONS', enabled ?? []],
    ['OTEL_NODE_DISABLED_INSTRUMENTATIONS', disabled],
  ] as const) {
    const unknown = names.filter((name) => !known.includes(name));
    if (unknown.length > 0) warnings.push(describeUnknown(variable, unknown, known));
  }
  const isOn = (name: string, offByDefault = false) =>
    !disabled.includes(name) && (enabled === undefined ? !offByDefault : enabled.includes(name));
  const milvus = isOn(MILVUS);
  if (!milvus && !disabled.includes(MILVUS)) {
    warnings.push(
      'OTEL_NODE_ENABLED_INSTRUMENTATIONS leaves milvus out, so Milvus operations are not traced. Add milvus to it.',
    );
  }
  return { milvus, entries: CATALOG.filter((entry) => isOn(entry.name, entry.offByDefault)), warnings };
}

/** One line for unknown names, with similar names or all names. */
function describeUnknown(variable: string, unknown: readonly string[], known: readonly string[]): string {
  const meant = unknown.map((name) => nearestName(name, known)).filter((name) => name !== undefined);
  const hint =
    meant.length === unknown.length
      ? ` Did you mean ${meant.join(', ')}?`
      : ` Known are ${known.join(', ')}.`;
  return oneLine(
    `${variable} has unknown names: ${unknown.join(', ').slice(0, LONGEST_SHOWN)} (ignored).${hint}`,
  );
}

const LONGEST_SHOWN = 200;

/**
 * The instrumentations that are on, for the line at start: their names or, when most are on, the names of the
 * others.
 */
export function describeSelection({ milvus, entries }: Pick<Selection, 'milvus' | 'entries'>): string {
  const on = [...(milvus ? [MILVUS] : []), ...entries.map(({ name }) => name)];
  const off = [MILVUS, ...CATALOG.map(({ name }) => name)].filter((name) => !on.includes(name));
  if (off.length === 0) return 'all';
  return on.length > off.length ? `all but ${off.join(', ')}` : on.join(', ') || 'none';
}

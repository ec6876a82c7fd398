/** Values for property-based tests: valid and invalid arguments of an app. */
import fc from 'fast-check';

/**
 * A fixed seed, so that runs see the same values. On failure, fast-check prints it with the path to the
 * value.
 */
export const RUNS = { seed: 19_530, numRuns: 400 };

/** Fields that the readers read: values without them would test nothing. */
const FIELDS = [
  'alter_status',
  'annsField',
  'baseURL',
  'config',
  'consistencyLevel',
  'cost',
  'dbName',
  'deleteCount',
  'endpoint',
  'insertCount',
  'partitionName',
  'partitionNames',
  'search',
  'statusText',
  'upsertCount',
  'anns_field',
  'code',
  'collectionName',
  'collection_name',
  'collection_names',
  'consistency_level',
  'constructor',
  'data',
  'db_name',
  'delete_cnt',
  'details',
  'error_code',
  'expr',
  'extra_info',
  'fields_data',
  'filter',
  'ids',
  'insert_cnt',
  'limit',
  'message',
  'name',
  'partition_name',
  'partition_names',
  'reason',
  'report_value',
  'results',
  'status',
  'topk',
  'upsert_cnt',
  'vector',
  'vectors',
];

const leaf = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.double(),
  fc.bigInt(),
  fc.boolean(),
  fc.constantFrom<unknown>(null, undefined, Symbol('s'), () => 1, Number.NaN, '', '0', 'Success', '10'),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array({ maxLength: 4 }),
  fc.float32Array({ maxLength: 4 }),
);

const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.array(tie('tree'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), tie('tree'), { maxKeys: 6 }),
  ),
}));

const fieldsOf = (values: fc.Arbitrary<unknown>) =>
  fc.dictionary(fc.constantFrom(...FIELDS), values, { minKeys: 1, maxKeys: 10 });

/** Refers back to itself from the fields into which the readers descend. */
function cyclic(value: Record<string, unknown>): Record<string, unknown> {
  value.data = [value];
  value.results = [value, [value]];
  value.status ??= value;
  value.anns_field ??= 'v';
  return value;
}

function frozen(value: Record<string, unknown>): Record<string, unknown> {
  for (const inner of Object.values(value)) {
    if (Array.isArray(inner)) Object.freeze(inner);
  }
  return Object.freeze(value);
}

/** Data of any structure and type; reading it never throws. */
export const anyData: fc.Arbitrary<unknown> = fc.oneof(
  tree,
  fieldsOf(tree),
  fieldsOf(tree).map(cyclic),
  fieldsOf(tree).map(frozen),
);

function refuse(): never {
  throw new Error('not to be touched');
}

const TRAPS: ProxyHandler<object> = {
  get: refuse,
  has: refuse,
  ownKeys: refuse,
  getPrototypeOf: refuse,
  getOwnPropertyDescriptor: refuse,
  set: refuse,
  defineProperty: refuse,
};

function withGetters(names: readonly string[]): object {
  const value = {};
  for (const name of names) Object.defineProperty(value, name, { get: refuse, enumerable: true });
  return value;
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

type Made = () => unknown;

// Functions that create values: fast-check itself inspects generated values.
const untouchable: fc.Arbitrary<Made> = fc.oneof(
  fc.constantFrom(...[{}, [], () => 1]).map((target) => () => new Proxy(target, TRAPS)),
  fc.constant(revoked),
  fc.uniqueArray(fc.constantFrom(...FIELDS), { minLength: 1 }).map((names) => () => withGetters(names)),
  fc.constantFrom('toString', 'valueOf').map((name) => () => ({ [name]: refuse })),
  fc.constant(() => Object.create(null)),
);

const asMade = (values: fc.Arbitrary<unknown>): fc.Arbitrary<Made> => values.map((value) => () => value);

/** Creates everything in anyData, and values that throw on access, at the top or inside. */
export const anyValue: fc.Arbitrary<Made> = fc.oneof(
  asMade(anyData),
  untouchable,
  fieldsOf(fc.oneof(asMade(tree), untouchable)).map(
    (makers) => () =>
      Object.fromEntries(Object.entries(makers).map(([name, make]) => [name, (make as Made)()])),
  ),
);

/** Number of reads and writes of a value, at any depth, through `value`. */
export interface Observed<T> {
  value: T;
  reads: number;
  writes: string[];
}

/** `target` must not be frozen: a proxy must return a frozen field unchanged. */
export function observed<T extends object>(target: T): Observed<T> {
  const observation: Observed<T> = { value: target, reads: 0, writes: [] };
  const seen = new Map<object, object>();
  const wrap = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
    const known = seen.get(value);
    if (known !== undefined) return known;
    const proxy = new Proxy(value, {
      get(object, key) {
        observation.reads++;
        return wrap(Reflect.get(object, key));
      },
      set(_object, key) {
        observation.writes.push(String(key));
        return true;
      },
      defineProperty(_object, key) {
        observation.writes.push(String(key));
        return true;
      },
      deleteProperty(_object, key) {
        observation.writes.push(String(key));
        return true;
      },
    });
    seen.set(value, proxy);
    return proxy;
  };
  observation.value = wrap(target) as T;
  return observation;
}

// Calculates from a load of requests: spans per second, traffic, memory of the samplers, disk.
//   node samples/cluster/calculator.mjs --requests 200 --keep 10 --days 14
import { parseArgs } from 'node:util';

/**
 * Option → default, unit, meaning. Defaults marked * were measured on the Express sample by
 * scripts/span-sizes.ts.
 */
const inputs = {
  requests: { value: 100, unit: '/s', doc: 'requests to the apps, each one trace' },
  operations: { value: 1, unit: '', doc: 'Milvus operations in one request' },
  'app-spans': {
    value: 4,
    unit: '',
    doc: 'spans of the app in one request, its Milvus operations included *',
  },
  'server-spans': { value: 9, unit: '', doc: 'spans of Milvus for one operation *' },
  'span-bytes': { value: 336, unit: ' B', doc: 'bytes of one span as OTLP *' },
  sampled: {
    value: 100,
    unit: ' %',
    doc: "requests that the apps' sampler keeps (OTEL_TRACES_SAMPLER_ARG times 100)",
  },
  keep: {
    value: 10,
    unit: ' %',
    doc: 'share of other traces that the tail sampling keeps',
  },
  special: { value: 2, unit: ' %', doc: 'traces with an error or a slow operation; all are kept' },
  wait: { value: 20, unit: ' s', doc: 'decision_wait of the tail sampling' },
  days: { value: 7, unit: ' d', doc: 'how long a span is stored' },
  'memory-factor': {
    value: 5,
    unit: '',
    doc: 'memory of a waiting span in the collector, as a multiple of its bytes: an assumption',
  },
  'disk-factor': {
    value: 1,
    unit: '',
    doc: 'disk of a stored span, as a multiple of its bytes: depends on the store and its copies',
  },
};

/**
 * @param {Record<keyof inputs, number>} load with the keys of `inputs`
 * @returns spans and traces a second, bytes a second, bytes
 */
export function calculate(load) {
  const tracesPerSecond = (load.requests * load.sampled) / 100;
  const spansPerTrace = load['app-spans'] + load.operations * load['server-spans'];
  const spansPerSecond = tracesPerSecond * spansPerTrace;
  const bytesPerSecond = spansPerSecond * load['span-bytes'];
  const keptShare = load.special / 100 + (1 - load.special / 100) * (load.keep / 100);
  const keptSpansPerSecond = spansPerSecond * keptShare;
  return {
    tracesPerSecond,
    spansPerTrace,
    spansPerSecond,
    bytesPerSecond,
    waitingTraces: tracesPerSecond * load.wait,
    waitingBytes: bytesPerSecond * load.wait * load['memory-factor'],
    keptShare,
    keptSpansPerSecond,
    storedBytesPerDay: keptSpansPerSecond * load['span-bytes'] * load['disk-factor'] * 86_400,
    storedBytes: keptSpansPerSecond * load['span-bytes'] * load['disk-factor'] * 86_400 * load.days,
  };
}

function shownBytes(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

const shownNumber = (value) => value.toLocaleString('en-US', { maximumFractionDigits: 1 });

const help = () =>
  `node samples/cluster/calculator.mjs [--NAME NUMBER …]\n\n${Object.entries(inputs)
    .map(([name, { value, unit, doc }]) => `  --${name.padEnd(14)} ${`${value}${unit}`.padEnd(7)} ${doc}`)
    .join('\n')}\n\n  --json           the result for programs`;

/** Prints; resolves to the exit code. */
function main(args) {
  const options = Object.fromEntries(Object.keys(inputs).map((name) => [name, { type: 'string' }]));
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: { ...options, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    }));
  } catch (error) {
    console.error(`${error.message}\n\n${help()}`);
    return 2;
  }
  if (values.help) {
    console.log(help());
    return 0;
  }
  const load = {};
  for (const [name, { value, unit }] of Object.entries(inputs)) {
    load[name] = Number(values[name] ?? value);
    const most = unit === ' %' ? 100 : Number.MAX_VALUE;
    if (values[name]?.trim() === '' || !(load[name] >= 0 && load[name] <= most)) {
      console.error(
        `--${name} ${values[name]} is no ${unit === ' %' ? 'number from 0 to 100' : 'number from 0'}`,
      );
      return 2;
    }
  }
  const result = calculate(load);
  if (values.json) {
    console.log(JSON.stringify(result));
    return 0;
  }
  const kept = shownNumber(result.keptShare * 100);
  console.log(`${shownNumber(result.tracesPerSecond)} traces/s of ${shownNumber(result.spansPerTrace)} spans
to the collectors     ${shownNumber(result.spansPerSecond)} spans/s, ${shownBytes(result.bytesPerSecond)}/s
waiting for decisions ${shownNumber(result.waitingTraces)} traces (num_traces of all samplers together), about ${shownBytes(result.waitingBytes)} of memory
kept                  ${kept} %, ${shownNumber(result.keptSpansPerSecond)} spans/s
stored                ${shownBytes(result.storedBytesPerDay)} a day, ${shownBytes(result.storedBytes)} in ${shownNumber(load.days)} days`);
  return 0;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));

/** Builds a real OpenTelemetry Collector from its Go modules, once, into .cache/collector. */
import { createHash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ensureGoProgram, type GoBuildOptions } from './go-program.ts';

/** The same as in compose/production and in the charts' values in samples/cluster. */
export const collectorVersion = '0.158.0';
/** Version of the collector's stable modules in that release. */
const stableVersion = '1.64.0';
const core = 'go.opentelemetry.io/collector';
const contrib = 'github.com/open-telemetry/opentelemetry-collector-contrib';

const gomods = (version: string, ...modules: string[]) =>
  modules.map((module) => ({ gomod: `${module} v${version}` }));

/** Only the components of our configurations: the whole contrib image takes an hour to build. */
const manifest = {
  dist: { name: 'otelcol', output_path: 'sources' },
  receivers: gomods(collectorVersion, `${core}/receiver/otlpreceiver`),
  processors: gomods(
    collectorVersion,
    `${core}/processor/batchprocessor`,
    `${core}/processor/memorylimiterprocessor`,
    `${contrib}/processor/filterprocessor`,
    `${contrib}/processor/tailsamplingprocessor`,
    `${contrib}/processor/transformprocessor`,
  ),
  exporters: gomods(
    collectorVersion,
    `${core}/exporter/otlpexporter`,
    `${contrib}/exporter/loadbalancingexporter`,
    `${contrib}/exporter/prometheusexporter`,
  ),
  connectors: gomods(
    collectorVersion,
    `${core}/connector/forwardconnector`,
    `${contrib}/connector/spanmetricsconnector`,
  ),
  extensions: gomods(
    collectorVersion,
    `${contrib}/extension/healthcheckextension`,
    `${contrib}/extension/storage/filestorage`,
  ),
  providers: gomods(
    stableVersion,
    `${core}/confmap/provider/envprovider`,
    `${core}/confmap/provider/fileprovider`,
  ),
};

/** A collector with these components; see `ensureGoProgram`. */
export const ensureCollector = (options?: GoBuildOptions): Promise<string> =>
  ensureGoProgram(
    {
      title: `OpenTelemetry Collector ${collectorVersion}`,
      file: 'otelcol',
      // Other components need another cached program.
      version: `${collectorVersion}-${createHash('sha256').update(JSON.stringify(manifest)).digest('hex').slice(0, 8)}`,
      goNeeded: '1.25.0',
      takes: 'about 5 minutes on two cores',
      cacheDir: join(import.meta.dirname, '..', '..', '.cache', 'collector'),
      async build(go, scratch) {
        const builder = `${core}/cmd/builder@v${collectorVersion}`;
        writeFileSync(join(scratch, 'builder.yaml'), stringify(manifest));
        await go(['run', builder, '--skip-compilation', '--config', 'builder.yaml']);
        // Compiled here, since the builder prints no progress.
        await go(['build', '-C', 'sources', '-v', '-o', 'otelcol', '.']);
        renameSync(join(scratch, 'sources', 'otelcol'), join(scratch, 'otelcol'));
      },
    },
    options,
  );

/** Builds a real OpenTelemetry Collector from its Go modules, once, into .cache/collector. */
import { createHash } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ensureGoProgram, type GoBuildOptions } from './go-program.ts';

/** Also of the image in compose/production and of the charts' values in samples/cluster. */
export const collectorVersion = '0.158.0';
/** The stable parts of the collector have a version number; this one belongs to that release. */
const stableVersion = '1.64.0';
const core = 'go.opentelemetry.io/collector';
const contrib = 'github.com/open-telemetry/opentelemetry-collector-contrib';

const gomods = (version: string, ...modules: string[]) =>
  modules.map((module) => ({ gomod: `${module} v${version}` }));

/** What our configurations name, and nothing else: the whole of the contrib image takes an hour to build. */
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

/** A collector with the components that our configurations use, as `ensureGoProgram` says. */
export const ensureCollector = (options?: GoBuildOptions): Promise<string> =>
  ensureGoProgram(
    {
      title: `OpenTelemetry Collector ${collectorVersion}`,
      file: 'otelcol',
      // A cached program with other components is another program.
      version: `${collectorVersion}-${createHash('sha256').update(JSON.stringify(manifest)).digest('hex').slice(0, 8)}`,
      goNeeded: '1.25.0',
      takes: 'about 5 minutes on two cores',
      cacheDir: join(import.meta.dirname, '..', '..', '.cache', 'collector'),
      async build(go, scratch) {
        const builder = `${core}/cmd/builder@v${collectorVersion}`;
        writeFileSync(join(scratch, 'builder.yaml'), stringify(manifest));
        await go(['run', builder, '--skip-compilation', '--config', 'builder.yaml']);
        // Compiled here rather than by the builder, which is silent while it does so.
        await go(['build', '-C', 'sources', '-v', '-o', 'otelcol', '.']);
        renameSync(join(scratch, 'sources', 'otelcol'), join(scratch, 'otelcol'));
      },
    },
    options,
  );

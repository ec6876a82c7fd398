import { join, sep } from 'node:path';
import {
  defaultResource,
  detectResources,
  hostDetector,
  osDetector,
  processDetector,
  type Resource,
  type ResourceDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import type { Settings } from '../config/settings.ts';
import { isNamed, packageJsonAbove } from '../package-json.ts';
import { loadChunk } from './lazy-modules.ts';

type Detectors = ResourceDetector | ResourceDetector[];

/** Detectors that use a cloud's network or the file system; loaded only when they are named. */
const SURROUNDINGS = ['container', 'alibaba', 'aws', 'azure', 'gcp'];

/** The process without its arguments, which may hold tokens and addresses. */
const processWithoutArguments: ResourceDetector = {
  detect(config) {
    const { attributes = {} } = processDetector.detect(config);
    const { [ARGUMENTS]: _, [COMMAND]: command, ...rest } = attributes;
    // For a program on the command line (-e), the first argument is in the position of the main file.
    const isFile = !process.execArgv.some((option) => /^(-e|-p|-pe|--eval|--print)(=|$)/.test(option));
    return { attributes: isFile ? { ...rest, [COMMAND]: command } : rest };
  },
};

const argumentsOfProcess: ResourceDetector = {
  detect(config) {
    const { attributes = {} } = processDetector.detect(config);
    return { attributes: { [ARGUMENTS]: attributes[ARGUMENTS] } };
  },
};

const ARGUMENTS = 'process.command_args';
const COMMAND = 'process.command';

/**
 * Attributes of the variables. Upstream's detector is not used: it drops all attributes when one cannot be
 * decoded.
 */
const envDetector = ({ resourceAttributes, serviceName }: Settings): ResourceDetector => ({
  detect: () => ({
    attributes: {
      ...resourceAttributes,
      ...(serviceName === undefined ? {} : { 'service.name': serviceName }),
    },
  }),
});

const LOCAL: Record<string, ResourceDetector> = {
  host: hostDetector,
  os: osDetector,
  process: processWithoutArguments,
  serviceinstance: serviceInstanceIdDetector,
};

/** Not part of `all`. */
const WITH_USER_DATA: Record<string, ResourceDetector> = { processargs: argumentsOfProcess };

/** The resource of all signals. Some of its attributes may be asynchronous. */
export const resourceOf = (settings: Settings, serviceName: string): Resource =>
  defaultResource()
    .merge(resourceFromAttributes({ 'service.name': serviceName }))
    .merge(detectResources({ detectors: resourceDetectors(settings) }));

/** The detectors behind the names of OTEL_NODE_RESOURCE_DETECTORS, which are known to be valid. */
export function resourceDetectors(settings: Settings): ResourceDetector[] {
  const { resourceDetectors: names } = settings;
  if (names.includes('none')) return [];
  const all = names.includes('all') ? ['env', ...Object.keys(LOCAL), ...SURROUNDINGS] : [];
  return [...new Set([...all, ...names])]
    .filter((name) => name !== 'all')
    .flatMap(
      (name): Detectors =>
        (name === 'env' ? envDetector(settings) : LOCAL[name]) ??
        WITH_USER_DATA[name] ??
        loadChunk<Record<string, Detectors>>(`detector-${name}`).detectors ??
        [],
    );
}

/**
 * The name in the package.json that belongs to the app's main file: the nearest one at or above it that has a
 * name. Undefined when there is none, or no main file (a REPL, -e).
 */
export const packageName = (mainFile: string | undefined): string | undefined =>
  mainFile === undefined ? undefined : packageJsonAbove(mainFile, isNamed)?.found.name;

/**
 * The file whose package.json names the app: not a runner that is installed alongside the app (next, ts-node,
 * pm2's container).
 */
export function appFile(mainFile: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  const runner = `${sep}node_modules${sep}`;
  if (mainFile === undefined || !mainFile.includes(runner)) return mainFile;
  if (env.pm_exec_path !== undefined) return env.pm_exec_path;
  try {
    const folder = process.cwd();
    const holder = mainFile.slice(0, mainFile.indexOf(runner));
    return `${folder}${sep}`.startsWith(`${holder}${sep}`) ? join(folder, 'package.json') : mainFile;
  } catch {
    // The working directory was removed.
    return mainFile;
  }
}

/** The service name of the variables: OTEL_SERVICE_NAME, else service.name in OTEL_RESOURCE_ATTRIBUTES. */
export const serviceNameOf = ({ serviceName, resourceAttributes }: Settings): string | undefined =>
  serviceName ?? (resourceAttributes?.['service.name'] || undefined);

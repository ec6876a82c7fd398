/** Who the telemetry is about: the resource's detectors, and a name for the service. */

import { readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import {
  hostDetector,
  osDetector,
  processDetector,
  type ResourceDetector,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources';
import type { Settings } from '../config/settings.ts';
import { loadChunk } from './lazy-modules.ts';

type Detectors = ResourceDetector | ResourceDetector[];

/** Detectors that ask a cloud's network or the file system, loaded only when they are named. */
const SURROUNDINGS = ['container', 'alibaba', 'aws', 'azure', 'gcp'];

/** The process without its arguments: people pass tokens and addresses in them. */
const processWithoutArguments: ResourceDetector = {
  detect(config) {
    const { attributes = {} } = processDetector.detect(config);
    const { [ARGUMENTS]: _, [COMMAND]: command, ...rest } = attributes;
    // Of a program on the command line (-e), the first argument stands in the place of the main file.
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

/** What the variables say. Not upstream's detector: of several attributes it drops all when one cannot be decoded. */
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
export function packageName(mainFile: string | undefined): string | undefined {
  if (mainFile === undefined) return undefined;
  for (let directory = dirname(mainFile); ; directory = dirname(directory)) {
    try {
      const { name } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
      if (typeof name === 'string' && name !== '') return name;
    } catch {
      // No package.json here, or not one that can be read: the next folder up decides.
    }
    if (directory === dirname(directory)) return undefined;
  }
}

/**
 * The main file of the app, as far as its name goes: a runner that is installed beside the app (next, ts-node, pm2's
 * container) is not it.
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
    // The folder is gone.
    return mainFile;
  }
}

/** The service's name as the variables say it: OTEL_SERVICE_NAME, else service.name in the resource attributes. */
export const serviceNameOf = ({ serviceName, resourceAttributes }: Settings): string | undefined =>
  serviceName ?? (resourceAttributes?.['service.name'] || undefined);

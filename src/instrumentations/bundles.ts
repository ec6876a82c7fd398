/** Whether a file that loads what gRPC needs is an app's bundle with the Milvus SDK inside. */
import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Modules that the SDK, or gRPC inside it, loads and a bundler leaves outside. */
export const LOADED_BY_BUNDLES = ['http2', '@grpc/grpc-js'] as const;

declare const __filename: string;

/** The name of Milvus' gRPC service: minifiers keep it, and an app's own source has no reason to have it. */
const MARKER = 'milvus.proto.milvus.MilvusService';

const known = new Map<string, boolean>();

/**
 * Reads the file, once, and only when it is no package of node_modules: few apps load these modules themselves. False
 * when it cannot be read.
 *
 * @param parent URL or path of the file that loads one of LOADED_BY_BUNDLES; undefined in a REPL.
 */
export function hasMilvusInside(parent: string | undefined): boolean {
  if (parent === undefined || /[\\/]node_modules[\\/]/.test(parent)) return false;
  let inside = known.get(parent);
  if (inside === undefined) {
    try {
      // This file has the marker too, wherever it is installed.
      const isOwn = dirname(pathOf(parent)) === dirname(__filename);
      inside = !isOwn && readFileSync(pathOf(parent)).includes(MARKER);
    } catch {
      inside = false;
    }
    known.set(parent, inside);
  }
  return inside;
}

/** What is said about it, with the cure. */
export const bundledLine = (parent: string): string =>
  `Milvus is bundled into ${basename(pathOf(parent))}, so its calls are traced without collections and results. ` +
  'Bundle with @zilliz/milvus2-sdk-node and @grpc/grpc-js external (esbuild --external:NAME, webpack externals), ' +
  'and install both beside the bundle.';

const pathOf = (parent: string): string => (parent.startsWith('file:') ? fileURLToPath(parent) : parent);

/** Whether the version of the SDK that an app loads is supported. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNamed, packageJsonAbove } from '../package-json.ts';

export const SDK = '@zilliz/milvus2-sdk-node';

/** 2.2.24 is the first version with the patched file layout; 4 and later are unknown. */
export const SUPPORTED_VERSIONS = ['>=2.2.24 <4'];

/** An SDK on disk. */
export interface InstalledSdk {
  folder: string;
  version: string;
  /** By `npm link` or a workspace: its real path is in no node_modules, by which its files would be known. */
  isLinked: boolean;
}

/** The SDK that was resolved to `url`; undefined when its package.json cannot be found. */
export function installedSdk(url: string): InstalledSdk | undefined {
  if (!url.startsWith('file:')) return undefined;
  const nearest = packageJsonAbove(fileURLToPath(url), isNamed);
  if (nearest?.found.name !== SDK) return undefined;
  const { folder, found } = nearest;
  return { folder, version: String(found.version), isLinked: !folder.endsWith(join('node_modules', SDK)) };
}

/** The line about an unsupported SDK; undefined for a supported one. */
export function unknownSdk(sdk: InstalledSdk | undefined): string | undefined {
  if (sdk === undefined || isKnown(sdk.version)) return undefined;
  return `${SDK} ${sdk.version} is not supported (2.2.24 to 3.x are): each of its gRPC calls gets a span instead.`;
}

/** The same range as SUPPORTED_VERSIONS, on a version's three numbers. */
function isKnown(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  if (major !== 2) return major === 3;
  return minor > 2 || (minor === 2 && patch >= 24);
}

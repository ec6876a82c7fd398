/** Whether the SDK that an app loads is one whose inside is known. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const SDK = '@zilliz/milvus2-sdk-node';

/** 2.2.24 is the first with the file layout that is patched; nothing from 4 on is known. */
export const SUPPORTED_VERSIONS = ['>=2.2.24 <4'];

/**
 * What to tell about the SDK that was resolved to `url`; undefined when it is a known one, or when its version
 * cannot be read.
 */
export function unknownSdk(url: string): string | undefined {
  const folder = new RegExp(`^(file:.*/${SDK})/`).exec(url)?.[1];
  if (folder === undefined) return undefined;
  let version: string;
  try {
    version = String(JSON.parse(readFileSync(fileURLToPath(`${folder}/package.json`), 'utf8')).version);
  } catch {
    return undefined;
  }
  if (isKnown(version)) return undefined;
  return `${SDK} ${version} is not known to this version (2.2.24 to 3.x are): its calls are traced as gRPC calls, without Milvus attributes.`;
}

/** The same range as SUPPORTED_VERSIONS, on a version's three numbers. */
function isKnown(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  if (major !== 2) return major === 3;
  return minor > 2 || (minor === 2 && patch >= 24);
}

/**
 * Whether process.execPath is a Node that runs the given file. Any other program would run the app again.
 */
import { basename } from 'node:path';

/** node, nodejs, node24, node-v24.1.0, node_g (a debug build), node.exe. */
const NODE_NAME = /^node(js|_g)?([-_.]?v?\d+(\.\d+)*)?(\.exe)?$/i;

/** The executable, and other signs of the program that it runs. */
export interface Runtime {
  execPath: string;
  versions: Readonly<Record<string, string | undefined>>;
  /** Whether the app is inside the executable: a single executable application of Node, pkg, nexe. */
  isPackaged: boolean;
}

/**
 * A single executable application runs its app whatever its arguments are, and so do programs that embed
 * Node. Most are recognised by their name. A plain Node that was renamed is taken for one too: that costs
 * memory, not spans.
 */
export const isPlainNode = ({ execPath, versions, isPackaged }: Runtime): boolean =>
  !isPackaged &&
  versions.electron === undefined &&
  versions.nw === undefined &&
  NODE_NAME.test(basename(execPath));

export function runtimeOf(process: NodeJS.Process): Runtime {
  const packager = process as { pkg?: unknown; __nexe?: unknown };
  const isPackaged =
    packager.pkg !== undefined ||
    packager.__nexe !== undefined ||
    process.getBuiltinModule('node:sea').isSea();
  return { execPath: process.execPath, versions: process.versions, isPackaged };
}

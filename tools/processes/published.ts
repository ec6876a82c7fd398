/** The package as published, and an app that has installed it. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { npm } from './npm.ts';

const root = path.join(import.meta.dirname, '..', '..');
const sdk = '@zilliz/milvus2-sdk-node';

export interface Packed {
  /** Path of the tarball. */
  tarball: string;
  /** Its files, sorted. */
  files: string[];
}

/** Needs dist/. */
export async function packInto(folder: string): Promise<Packed> {
  // Without scripts: a build would remove dist/ while other tests use it.
  const report = JSON.parse(
    await npm(['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: root }),
  );
  const [{ filename, files }] = Object.values(report) as [{ filename: string; files: { path: string }[] }];
  return { tarball: path.join(folder, filename), files: files.map((file) => file.path).sort() };
}

/** The user's `npm install milvus-otel`, in an app with the SDK version of this project's tests. */
export async function installInto(app: string, tarball: string): Promise<void> {
  const { devDependencies } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
  const options = ['--prefer-offline', '--no-audit', '--no-fund', '--prefix', app];
  await npm(['install', ...options, `${sdk}@${devDependencies[sdk]}`, tarball], { cwd: app });
}

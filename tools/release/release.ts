/** Changes and checks of a release. Pure except `packedFiles`. */
import { npm } from '../processes/npm.ts';

const VERSION = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const UNRELEASED = '## [Unreleased]';

/** Files that a published package must have. */
const NEEDED = [
  'package.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'bin/milvus-otel.cjs',
  'dist/register.cjs',
  'dist/preload.cjs',
  'dist/instrumentation.cjs',
  'dist/instrumentation.d.cts',
];

/** The changelog with its unreleased entries under a heading of `version`. Throws when there are none. */
export function withRelease(changelog: string, version: string, date: string): string {
  if (!VERSION.test(version)) throw new Error(`${version} is not a version such as 1.2.3`);
  if (changelog.includes(`## [${version}]`)) throw new Error(`CHANGELOG.md already has a section ${version}`);
  if (entriesOf(changelog, 'Unreleased') === '')
    throw new Error('CHANGELOG.md has no entries under Unreleased');
  return changelog.replace(UNRELEASED, `${UNRELEASED}\n\n## [${version}] - ${date}`);
}

/** The text under a version's heading; '' when there is none. */
export function entriesOf(changelog: string, version: string): string {
  const [, ...sections] = changelog.split(/^## \[/m);
  const section = sections.find((text) => text.startsWith(`${version}]`)) ?? '';
  return section.split('\n').slice(1).join('\n').trim();
}

/** Reasons not to publish `tag`; empty when there are none. */
export function obstacles(
  tag: string,
  version: string,
  changelog: string,
  files: readonly string[],
): string[] {
  const found: string[] = [];
  if (tag !== `v${version}`) found.push(`the tag is ${tag}, but package.json has version ${version}`);
  if (entriesOf(changelog, version) === '') found.push(`CHANGELOG.md has no entries for ${version}`);
  for (const file of NEEDED) if (!files.includes(file)) found.push(`the package lacks ${file}`);
  for (const file of files)
    if (/^(src|test|tools|bench|scripts)\//.test(file)) found.push(`the package contains ${file}`);
  return found;
}

/** Paths of the files that would be published, from `npm pack --dry-run`. */
export async function packedFiles(root: string): Promise<string[]> {
  const [packed] = JSON.parse(await npm(['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root }));
  return packed.files.map(({ path }: { path: string }) => path);
}

/** `npm run release`: prepares a release, or checks that a tag can be published. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBuilt } from '../tools/build/build-package.ts';
import { npm } from '../tools/processes/npm.ts';
import { obstacles, packedFiles, withRelease } from '../tools/release/release.ts';

const help = `npm run release -- 1.2.3           sets the version in package.json, package-lock.json and CHANGELOG.md
npm run release -- --check v1.2.3  checks that tag, version, changelog and packed files agree

Commits and publishes nothing; prints the next steps.`;

const root = path.join(import.meta.dirname, '..');
const changelogFile = path.join(root, 'CHANGELOG.md');

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { check: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  });
  const [version] = positionals;
  if (values.help) {
    console.log(help);
    return 0;
  }
  const changelog = await readFile(changelogFile, 'utf8');
  if (values.check !== undefined) {
    await ensureBuilt();
    const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'));
    const found = obstacles(values.check, manifest.version, changelog, await packedFiles(root));
    for (const obstacle of found) console.error(`release: ${obstacle}`);
    if (found.length === 0) console.log(`${values.check} can be published.`);
    return found.length === 0 ? 0 : 1;
  }
  if (version === undefined || positionals.length > 1) {
    console.error(help);
    return 2;
  }
  const released = withRelease(changelog, version, new Date().toISOString().slice(0, 10));
  await npm(['version', version, '--no-git-tag-version', '--ignore-scripts'], { cwd: root });
  await writeFile(changelogFile, released);
  console.log(`Version ${version} is set. Next:
  npm run check && npm test
  git commit -am "Release ${version}" && git tag v${version} && git push --follow-tags`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`release: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
